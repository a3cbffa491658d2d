"""Refresh tokens as the real servers keep them: each good for one use, and a second use ends its
whole family.

A refresh token nobody has seen starts a family, so that tests can make logins up. Words in it have
effects, for all its successors: `lives-5` (access tokens live that many seconds), `slow` (an answer
takes half a second) or `slow-4` (four), `unavailable` (the server fails), `revoked` (refused).
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from uuid import uuid4

LIFETIME_SECONDS = 8 * 3600
MOST_TOKENS = 10_000
SLOW_SECONDS = 0.5
LIVES = re.compile(r"lives-(\d+)")
SLOW = re.compile(r"slow(?:-(\d+))?")
EXPIRY = re.compile(r"-until-(\d+)-")


@dataclass(slots=True)
class Family:
    lifetime: int = LIFETIME_SECONDS
    delay: float = 0.0
    unavailable: bool = False
    dead: bool = False


class Spent(Exception):
    """A refresh token was used before; the family of the token has ended."""


class Unknown(Exception):
    """An unknown or ended refresh token."""


@dataclass(slots=True)
class Families:
    prefix: str
    _unused: dict[str, Family] = field(default_factory=dict)
    _used: dict[str, Family] = field(default_factory=dict)

    def redeem(self, token: str) -> Family:
        """Return the family of `token`, and spend `token` unless the family is `unavailable`.
        Raises Spent or Unknown.
        """
        if family := self._used.get(token):
            # A token that comes twice may have been stolen, so the service ends everything that
            # grew from it: a proxy that spends a token twice loses its login.
            family.dead = True
            raise Spent
        # A token that this process never gave out is one made up by a test; its words say how it
        # behaves.
        family = self._unused.get(token) or made_up(token)
        if family.dead or "revoked" in token or not token.startswith(self.prefix):
            raise Unknown
        # A server that could not do its work has spent nothing, and the token is good for the next
        # attempt.
        if not family.unavailable:
            self._unused.pop(token, None)
            self._used[token] = family
            # The oldest goes: a dict keeps the order of its entries.
            if len(self._used) > MOST_TOKENS:
                del self._used[next(iter(self._used))]
        return family

    def issue(self, family: Family) -> str:
        token = f"{self.prefix}{uuid4().hex}"
        self._unused[token] = family
        return token


def made_up(token: str) -> Family:
    lives = LIVES.search(token)
    slow = SLOW.search(token)
    lifetime = int(lives[1]) if lives else LIFETIME_SECONDS
    delay = float(slow[1] or SLOW_SECONDS) if slow else 0.0
    return Family(lifetime, delay, "unavailable" in token)


def opaque_token(prefix: str, family: Family) -> str:
    """Return an access token with an end readable for this simulator only."""
    return f"{prefix}-until-{int(time.time()) + family.lifetime}-{uuid4().hex}"


def has_ended(token: str) -> bool:
    """Return True if an access token of `opaque_token` has ended; no further token ever ends."""
    until = EXPIRY.search(token)
    return until is not None and int(until[1]) <= time.time()
