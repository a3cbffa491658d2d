"""Pairings: links that sign in one browser as one named token, once, without the token itself.

A program offers a pairing with its own token, so a pairing never gives more than its maker has. The
secret of the link is random and kept in Redis as a hash, beside the hash of the token, for
PAIRING_SECONDS. Redeeming takes the entry out in one step: of two browsers one gets it. A token
that was revoked or replaced meanwhile has another hash, and its pairing leads nowhere.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from gateway.server.signed_in import Token

PAIRING_SECONDS = 300.0
SECRET_BYTES = 16  # 128 bits: nobody finds a secret by trying, and the QR code stays small
_TAKE = "local found = redis.call('GET', KEYS[1]); redis.call('DEL', KEYS[1]); return found"


class PairingRedis(Protocol):
    """The part of the bus used by Pairings."""

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep `value` for `ttl` seconds. Raises BusUnavailable."""

    async def run_script(self, script: str, keys: Sequence[str], *arguments: object) -> object:
        """Run a Lua script in one step and return the script's answer. Raises BusUnavailable."""


class Pairings:
    """The pairings in Redis, for the tokens that `known` returns."""

    def __init__(self, bus: PairingRedis, known: Callable[[], Iterable[Token]]) -> None:
        self._bus = bus
        self._known = known

    async def offer(self, token: Token) -> str:
        """Return the secret of a new pairing of `token`. Raises BusUnavailable."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        await self._bus.put(key_of(secret), token.digest.encode(), ttl=PAIRING_SECONDS)
        return secret

    async def redeem(self, secret: str, now: float) -> Token | None:
        """Return the token of the pairing with `secret`, which ends; None for a pairing that is
        unknown, over or used, and for a token that has ended. `now` is in UTC seconds since 1970.
        Raises BusUnavailable.
        """
        digest = await self._bus.run_script(_TAKE, [key_of(secret)])
        if not isinstance(digest, bytes):
            return None
        for token in self._known():
            if token.digest.encode() == digest:
                return None if token.has_expired(now) else token
        return None


def key_of(secret: str) -> str:
    """Return the key in Redis of the pairing with `secret`."""
    return f"pairing:{hashlib.sha256(secret.encode()).hexdigest()}"
