"""Proof keys, and the claims of tokens."""

from __future__ import annotations

import base64
import hashlib

import pytest

from shared.accounts.oauth import PendingLogin, claims_of, parse_token_reply, seconds
from simulator.logins.servers import jwt


def test_a_pending_login_s_challenge_is_s256_of_its_verifier() -> None:
    pending = PendingLogin.begin("claude", "http://localhost/callback")
    digest = hashlib.sha256(pending.verifier.encode()).digest()
    assert base64.urlsafe_b64decode(pending.challenge + "=") == digest
    assert pending.state != PendingLogin.begin("claude", "").state
    assert len(pending.verifier) >= 43  # RFC 7636, 4.1


@pytest.mark.parametrize("token", [None, "", "a.b", "a.!.c", "a.e30=x.c", 5])
def test_what_is_no_jwt_claims_nothing(token: object) -> None:
    assert claims_of(token) == {}


def test_a_jwt_tells_its_claims() -> None:
    assert claims_of(jwt({"exp": 5})) == {"exp": 5}


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 3000 + b"]" * 3000])
def test_a_reply_that_is_no_object_is_empty(data: bytes) -> None:
    assert parse_token_reply(data) == {}


@pytest.mark.parametrize("told", [10**400, -1, 0, "3600", None, [], 1e300])
@pytest.mark.parametrize("unit", [1.0, 0.001])
def test_a_time_that_is_none_is_no_time(told: object, unit: float) -> None:
    assert seconds({"expires_in": told}, "expires_in", unit=unit) == 0.0
