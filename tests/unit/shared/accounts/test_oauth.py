"""Proof keys, and the claims of tokens."""

from __future__ import annotations

import base64
import hashlib

import pytest

from shared.accounts.oauth import PendingLogin, claims_of
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
