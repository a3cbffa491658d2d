"""The cookie stands for one token until its end, and for nothing once any part of it or the token
is another.
"""

from __future__ import annotations

import pytest

from gateway.server.signed_in import (
    SIGNED_IN_SECONDS,
    Token,
    accepts_cookie,
    cookie_given,
    cookie_name,
    make_cookie,
    read_cookie,
    set_cookie,
)

OWNER = Token("owner", b"owner-secret", frozenset({"admin"}))
PHONE = Token("phone", b"phone-secret", frozenset({"approve"}))
NOW = 1_800_000_000.0


def test_a_cookie_is_read_back_until_its_end() -> None:
    cookie = make_cookie(PHONE, NOW)
    assert read_cookie(cookie, [OWNER, PHONE], NOW) is PHONE
    assert read_cookie(cookie, [OWNER, PHONE], NOW + SIGNED_IN_SECONDS - 1) is PHONE
    assert read_cookie(cookie, [OWNER, PHONE], NOW + SIGNED_IN_SECONDS) is None


def test_a_cookie_says_nothing_of_the_secret() -> None:
    assert "secret" not in make_cookie(OWNER, NOW)


def test_a_changed_or_revoked_token_ends_its_cookies() -> None:
    cookie = make_cookie(PHONE, NOW)
    assert read_cookie(cookie, [Token("phone", b"another", PHONE.scopes)], NOW) is None
    assert read_cookie(cookie, [OWNER], NOW) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda cookie: cookie.replace("phone", "owner"),
        lambda cookie: cookie.replace(":1801", ":1901"),
        lambda cookie: cookie[:-1] + ("0" if cookie[-1] != "0" else "1"),
        lambda cookie: cookie + "0",
        lambda cookie: cookie.rpartition(":")[0],
        lambda cookie: "",
        lambda cookie: ":::",
        lambda cookie: "phone:²:x",
        lambda cookie: "phone:" + "9" * 5000 + ":x",
        lambda cookie: "phone:9999999999:é",
    ],
)
def test_an_altered_cookie_is_worth_nothing(change: object) -> None:
    assert read_cookie(change(make_cookie(PHONE, NOW)), [OWNER, PHONE], NOW) is None  # type: ignore[operator]


@pytest.mark.parametrize(
    ("path", "accepted"),
    [
        ("/dashboard", True),
        ("/permissions/x/respond", True),
        ("/logs/stream", True),
        ("/openapi.json", True),
        ("/api/v1/messages", False),
        ("/sdk/v1/messages", False),
        ("/sdk/sessions", True),
        ("/sdk/status", True),
        ("/codex/responses", False),
        ("/mcp", False),
        ("/permissionsx", False),
    ],
)
def test_a_cookie_opens_pages_and_never_a_model(path: str, accepted: bool) -> None:
    assert accepts_cookie(path) == accepted


def test_stacks_on_several_ports_have_cookies_of_their_own() -> None:
    assert cookie_name(b"localhost:8000") == "ccproxy-8000"
    assert cookie_name(b"ccproxy.example.org") == "ccproxy"
    assert cookie_name(b"[::1]:9") == "ccproxy-9"
    headers = {
        b"host": b"localhost:8000",
        b"cookie": b"a=b; ccproxy-9000=other; ccproxy-8000=mine; ccproxy=x",
    }
    assert cookie_given(headers) == "mine"
    assert cookie_given({b"host": b"localhost:1"} | {b"cookie": b"ccproxy-8000=mine"}) == ""


def test_the_cookie_is_kept_from_scripts_and_other_sites() -> None:
    assert set_cookie(b"box.lan", "v", "https") == (
        f"ccproxy=v; Path=/; Max-Age={SIGNED_IN_SECONDS}; HttpOnly; SameSite=Strict; Secure"
    )
    assert (
        set_cookie(b"localhost:8000", "", "http")
        == "ccproxy-8000=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
    )
