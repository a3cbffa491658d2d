"""A login of any issuer, and the description of a login without its secrets. Nothing here reads a
file or a clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

EXCHANGE_SECONDS = (
    30.0  # for the exchange of a login; the stop of a process that may be in one waits longer
)

Billing = Literal["api_key", "subscription"]

# How a login gets its successor: by us; by another program, because we cannot write its file; by
# nobody, because it has no refresh token; or not any more, because renewal was refused, or has
# failed for some time.
Renewal = Literal["ours", "others", "none", "refused", "failing"]


@dataclass(frozen=True, slots=True)
class Authorization:
    """The credential of a request. `billed_to` is `api_key` or `subscription`; `source` names the
    credential's place. `account` is a digest of the account that pays, the same after a renewal.
    """

    headers: Mapping[str, str] = field(repr=False)
    billed_to: str
    source: str
    account: str = ""


def account_digest(account: str) -> str:
    """Return a short digest for the comparison of an account, or of a token in place of an
    account.
    """
    return hashlib.sha256(account.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Login:
    """A login as found in its file; `expires_at` in UTC seconds, None when the file
    does not say.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_at: float | None = None
    billed_to: Billing = "subscription"
    subscription: str | None = None
    account_id: str = ""
    email: str = ""
    scopes: tuple[str, ...] = ()

    def expires_within(self, seconds: float, now: float) -> bool:
        return self.expires_at is not None and self.expires_at - now <= seconds


@dataclass(frozen=True, slots=True)
class CredentialState:
    """The state of a credential for `/health`, the command line and the start-up lines: never the
    secret itself.

    `status` is pass, warn or fail; `output` ends with what to do when something is to be done.
    `renewal` is None for a credential that no exchange renews.
    """

    status: str
    output: str
    source: str = ""
    expires_at: float | None = None
    subscription: str | None = None
    billed_to: str = ""
    renewable: bool = False
    renewal: Renewal | None = None


LOGIN_PREFIX = "login:"


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """The login of `provider` as seen by a gateway, for the permission service: no secret, and no
    path. `expires_at` is in UTC seconds; 0 when unknown.
    """

    provider: str
    renewal: Renewal
    expires_at: float = 0.0


def login_key(provider: str, instance: str) -> str:
    """Return the key in Redis for the LoginFacts of the gateway `instance`."""
    return f"{LOGIN_PREFIX}{provider}:{instance}"
