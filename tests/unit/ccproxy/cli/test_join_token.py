"""The join token: its one word, and what is refused in its place."""

from __future__ import annotations

import base64
import json

import pytest

from ccproxy.cli.join_token import (
    JoinToken,
    TokenUnreadable,
    read_join_token,
    with_login,
    write_join_token,
)

TOKEN = JoinToken(
    name="attic",
    address="rediss://home.server:6380",
    user="ccproxy-join-attic",
    password="s3cret_-",
    ca="-----BEGIN CERTIFICATE-----",
    expires_at=1_800_000_000.5,
)


def word_of(**changes: object) -> str:
    facts = TOKEN.model_dump() | changes
    return base64.urlsafe_b64encode(json.dumps(facts).encode()).decode()


def test_a_join_token_is_read_as_it_was_written_also_when_a_mail_broke_it_into_lines() -> None:
    word = write_join_token(TOKEN)
    assert word.replace("-", "").replace("_", "").isalnum()
    broken = "\n".join([" ", word[:60], f"  {word[60:]}", ""])
    assert read_join_token(broken) == TOKEN
    assert TOKEN.address == "rediss://home.server:6380/0"


def test_a_join_token_carries_no_parameter_that_would_switch_a_check_off() -> None:
    word = word_of(address="rediss://me:pw@home.server/1?ssl_cert_reqs=none")
    assert read_join_token(word).address == "rediss://home.server:6379/1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a token",
        "é",
        "a" * 70_000,
        base64.urlsafe_b64encode(b"{}").decode(),
        base64.urlsafe_b64encode(b"[1]").decode(),
        base64.urlsafe_b64encode(b"\xff").decode(),
        word_of(address="redis://home.server:6379"),
        word_of(address="rediss://home.server:port"),
        word_of(name="no name"),
        word_of(password="a@b"),
        write_join_token(TOKEN)[:-9],
    ],
)
def test_another_text_is_no_join_token_and_is_not_repeated(text: str) -> None:
    with pytest.raises(TokenUnreadable, match="This is no join token") as caught:
        read_join_token(text)
    assert len(caught.value.message) < 120


def test_a_join_token_of_a_newer_form_names_the_remedy() -> None:
    with pytest.raises(TokenUnreadable, match="has form 2; this CCProxy reads form 1"):
        read_join_token(base64.urlsafe_b64encode(b'{"form": 2, "word": "new"}').decode())


def test_an_address_gets_a_user_a_password_and_parameters() -> None:
    url = with_login("rediss://[::1]:6380/0", "u", "p", "?ssl_ca_certs=/ca.pem")
    assert url == "rediss://u:p@[::1]:6380/0?ssl_ca_certs=/ca.pem"
    assert "s3cret" not in repr(TOKEN)
