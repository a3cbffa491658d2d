"""The address, the token and the picture of `ccproxy phone`, without a stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy.cli.found_stack import FoundStack
from ccproxy.cli.gateway import Unanswered
from ccproxy.cli.owned_tokens import OwnedTokens, TokenRefused, checked_token
from ccproxy.cli.phone import (
    PhoneRefused,
    checked_address,
    pairing_secret,
    phone_address,
    port_of,
    qr_code,
    token_of_phone,
)
from shared.accounts.tokens import TokenFile, token_digest
from shared.settings.tree import load_settings


def address(host: str = "127.0.0.1", names: list[str] | None = None) -> str:
    settings = load_settings(server={"host": host}, security={"allowed_hosts": names or []})
    return phone_address(settings, 8000, lambda: "192.168.1.20")


@pytest.mark.parametrize(
    ("host", "names", "expected"),
    [
        ("127.0.0.1", ["localhost", "home.example.org"], "https://home.example.org"),
        ("0.0.0.0", None, "http://192.168.1.20:8000"),
        ("192.168.1.7", None, "http://192.168.1.7:8000"),
        ("fd00::7", None, "http://[fd00::7]:8000"),
    ],
)
def test_the_address_is_the_one_a_phone_reaches(
    host: str, names: list[str] | None, expected: str
) -> None:
    assert address(host, names) == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_gateway_on_loopback_is_refused_with_what_to_do(host: str) -> None:
    with pytest.raises(PhoneRefused, match=r"SECURITY__ALLOWED_HOSTS.*SERVER__HOST.*--address"):
        address(host)


def test_a_given_address_has_no_path() -> None:
    assert checked_address("https://home.example.org/") == "https://home.example.org"
    for wrong in ("home.example.org", "ftp://home", "https://hub.lan/x", "https://hub.lan/?a"):
        with pytest.raises(PhoneRefused, match=r"https://home\.example\.org"):
            checked_address(wrong)


def test_a_phone_is_paired_again_with_a_new_secret_of_its_token(tmp_path: Path) -> None:
    owned = OwnedTokens(TokenFile(tmp_path / "tokens.json"))
    first = token_of_phone(owned, "phone")
    second = token_of_phone(owned, "phone")
    [token] = owned.file.read()
    assert first != second
    assert token.sha256 == token_digest(second)
    assert token.scopes == ("approve",)


def test_a_token_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    owned = OwnedTokens(TokenFile(tmp_path / "tokens.json"))
    secret = owned.add(checked_token({"name": "laptop", "scopes": ["use"]}))
    with pytest.raises(TokenRefused, match="another --name"):
        token_of_phone(owned, "laptop")
    assert owned.file.read()[0].sha256 == token_digest(secret)


def test_a_token_without_a_pairing_is_not_left_behind(tmp_path: Path) -> None:
    owned = OwnedTokens(TokenFile(tmp_path / "tokens.json"))
    with pytest.raises(Unanswered):
        pairing_secret(owned, FoundStack("http://127.0.0.1:1", "", "settings"), "phone")
    assert owned.file.read() == []


def test_the_port_is_the_stacks() -> None:
    assert port_of(FoundStack("http://127.0.0.1:8123", "", "settings")) == 8123


def test_the_code_is_a_square_with_a_light_border() -> None:
    rows = qr_code("https://home.example.org/pair#abcdefghijklmnopqrstuv").split("\n")
    assert len({len(row) for row in rows}) == 1
    assert abs(len(rows[0]) - 2 * len(rows)) <= 1
    assert set(rows[0]) == {"█"}
