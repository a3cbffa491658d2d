"""The admission of callers at both interfaces, and the limits reported with every reply of the
backend.

Tokens are made up by whoever uses the simulator. The backend reads a JWT's claims without looking
at its signature; the public interface takes any `sk-…`. One that contains `revoked` is refused, and
so is a token past its `exp`.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from simulator.codex.problem import CodexProblem, backend_error, challenge, detail

CLAIM = "https://api.openai.com/auth"
# minutes
FIVE_HOURS = 300
SEVEN_DAYS = 10_080
PERCENT_PER_REQUEST = 0.5


@dataclass(frozen=True, slots=True)
class CodexCaller:
    """`name` is the account, or the key."""

    name: str
    plan: str = ""


def admit_backend(headers: Mapping[str, str]) -> CodexCaller:
    """Raises the backend's 401 or 403."""
    # A stranger's program meets the web front first, whatever its token is worth.
    if not headers.get("originator") or not headers.get("user-agent"):
        raise challenge()
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise detail("Unauthorized", 401)
    claims = token_claims(token)
    account = claims.get(CLAIM, {}).get("chatgpt_account_id")
    if account is None or "revoked" in token:
        raise refused_token("token_invalidated", "Your authentication token has been invalidated.")
    if claims.get("exp", 0) <= time.time():
        raise refused_token("token_expired", "Provided authentication token is expired.")
    if headers.get("chatgpt-account-id") != account:
        raise detail("The account named does not belong to this token.", 403)  # unmeasured words
    return CodexCaller(account, claims[CLAIM].get("chatgpt_plan_type", "plus"))


def admit_public(headers: Mapping[str, str]) -> CodexCaller:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise backend_error(401, "You didn't provide an API key.")
    if not key.startswith("sk-") or "revoked" in key:
        raise backend_error(
            401, f"Incorrect API key provided: {key[:6]}***{key[-4:]}.", code="invalid_api_key"
        )
    return CodexCaller(key)


def refused_token(code: str, message: str) -> CodexProblem:
    return backend_error(401, f"{message} Please try signing in again.", code=code)


def token_claims(token: str) -> dict[str, Any]:
    """Return the claims in the middle of a JWT; {} for any other token."""
    try:
        middle = token.split(".")[1]
        # Base64 in a JWT has no padding; the decoder wants it.
        claims = orjson.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (IndexError, binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


class CodexLimits:
    """The windows of an account: a request costs half a percent of five hours and a tenth of that
    of the week.
    """

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()

    def spend(self, caller: CodexCaller) -> None:
        self._requests[caller.name] += 1

    def windows(self, caller: CodexCaller) -> list[dict[str, Any]]:
        """The primary and the secondary window. A free plan's only one is the week, and comes
        first.
        """
        used = self._requests[caller.name] * PERCENT_PER_REQUEST
        week = window(used / 10, SEVEN_DAYS)
        return [week] if caller.plan == "free" else [window(used, FIVE_HOURS), week]

    def headers(self, caller: CodexCaller) -> dict[str, str]:
        found = {"x-codex-plan-type": caller.plan, "x-codex-credits-has-credits": "False"}
        for name, now in zip(("primary", "secondary"), self.windows(caller), strict=False):
            found |= {
                f"x-codex-{name}-{key.replace('_', '-')}": str(value) for key, value in now.items()
            }
        return found

    def event(self, caller: CodexCaller) -> dict[str, Any]:
        """The payload of `codex.rate_limits`."""
        primary, *more = self.windows(caller)
        limits = {
            "allowed": True,
            "limit_reached": False,
            "primary": primary,
            "secondary": more[0] if more else None,
        }
        return {"plan_type": caller.plan, "rate_limits": limits}

    def usage(self, caller: CodexCaller) -> dict[str, Any]:
        """The body of `GET /backend-api/wham/usage`."""
        shown = [
            {
                "used_percent": now["used_percent"],
                "limit_window_seconds": now["window_minutes"] * 60,
                "reset_after_seconds": now["reset_after_seconds"],
                "reset_at": now["reset_at"],
            }
            for now in self.windows(caller)
        ]
        limit = {"allowed": True, "limit_reached": False, "primary_window": shown[0]}
        return {
            "plan_type": caller.plan,
            "rate_limit": limit | {"secondary_window": shown[1] if shown[1:] else None},
        }


def window(used: float, minutes: int) -> dict[str, Any]:
    left = minutes * 30  # seconds: half of the window
    reset_at = int(time.time()) + left
    return {
        "used_percent": min(100.0, used),
        "window_minutes": minutes,
        "reset_at": reset_at,
        "reset_after_seconds": left,
    }
