"""The limits of a named token: how much it may spend in a day, week, month, or in a window of the
provider's subscription. Pure: no clock, no I/O.

A limit counts in *buckets*: one bucket is one day, or one window of one provider. Days, weeks and
months are those of this machine's time zone; a window is the one that the provider last reported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared.accounts.quota import Quota, Window

Unit: TypeAlias = Literal["usd", "tokens", "requests", "percent"]
Span: TypeAlias = Literal["day", "week", "month", "5h", "7d"]

WINDOWS: tuple[Span, ...] = ("5h", "7d")
WINDOW_SECONDS = {"5h": 5 * 3600.0, "7d": 7 * 86_400.0}
MOST_LIMITS = 8
MOST_AT_ONCE = 1000
SCALES = {"": 1, "k": 1_000, "m": 1_000_000}
# `5 usd/day`, `$5/day`, `200k tokens/week`, `1.5M tokens/5h`, `20 requests/month`, `20%/5h`
LIMIT = re.compile(
    r"\$(?P<dollars>[0-9.]+)|(?P<amount>[0-9.]+)\s*(?P<scale>[kKmM]?)\s*(?P<unit>usd|tokens?|requests?|%)"
)
UNITS: dict[str, Unit] = {
    "usd": "usd",
    "token": "tokens",
    "request": "requests",
    "%": "percent",
}
EXAMPLES = "write it as $5/day, 200k tokens/week, 100 requests/month, or 20%/5h"


@dataclass(frozen=True, slots=True)
class Bucket:
    """The time span that a limit counts over. `name` is the same in every gateway; times are in UTC
    seconds.
    """

    name: str
    ends_at: float


@dataclass(frozen=True, slots=True)
class SpentSums:
    """The sums of one bucket: millionths of a dollar, tokens of every kind, and requests."""

    micro_usd: int = 0
    tokens: int = 0
    requests: int = 0

    def at_least(self, other: SpentSums) -> SpentSums:
        """Return the larger value of every sum."""
        return SpentSums(
            max(self.micro_usd, other.micro_usd),
            max(self.tokens, other.tokens),
            max(self.requests, other.requests),
        )

    def minus(self, less: SpentSums) -> SpentSums:
        """Return the difference."""
        return self.plus(SpentSums(-less.micro_usd, -less.tokens, -less.requests))

    def plus(self, more: SpentSums) -> SpentSums:
        """Return the sum of both."""
        return SpentSums(
            self.micro_usd + more.micro_usd,
            self.tokens + more.tokens,
            self.requests + more.requests,
        )


class TokenLimit(BaseModel):
    """At most `amount` of `unit` in each `per`. `percent` is a share of a subscription's window."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount: float = Field(gt=0, allow_inf_nan=False)
    unit: Unit
    per: Span

    def __str__(self) -> str:
        """Return the limit in the form for `parse_limit`."""
        if self.unit == "usd":
            return f"${self.amount:,.2f}/{self.per}".replace(",", "")
        if self.unit == "percent":
            return f"{self.amount:g}%/{self.per}"
        unit = self.unit.rstrip("s") if self.amount == 1 else self.unit
        return f"{self.amount:.0f} {unit}/{self.per}"

    def used(self, spent: SpentSums, everybody: SpentSums, window_used: float) -> float:
        """Return the used part of the limit, as a fraction; at 1 and more the limit is used up.

        `everybody` is what all tokens spent in the bucket, and `window_used` the used fraction of
        the subscription's window: a token's share of the window is its share of the dollars.
        """
        if self.unit == "percent":
            share = spent.micro_usd / everybody.micro_usd if everybody.micro_usd else 0.0
            return share * window_used * 100 / self.amount
        if self.unit == "usd":
            return spent.micro_usd / 1_000_000 / self.amount
        return (spent.tokens if self.unit == "tokens" else spent.requests) / self.amount


def parse_limit(text: str) -> TokenLimit:
    """Return the limit described by `text`. Raises ValueError with examples."""
    amount_text, slash, per = text.strip().rpartition("/")
    found = LIMIT.fullmatch(amount_text.strip())
    per = per.strip().lower()
    if not slash or found is None:
        raise ValueError(f"{text!r} is no limit: {EXAMPLES}.")
    if per not in ("day", "week", "month", *WINDOWS):
        raise ValueError(f"{text!r}: a limit is per day, week, month, 5h or 7d.")
    word = "usd" if found["dollars"] else found["unit"].rstrip("s")
    unit = UNITS[word]
    try:
        amount = float(found["dollars"] or found["amount"])
    except ValueError:
        raise ValueError(f"{text!r} is no limit: {EXAMPLES}.") from None
    if found["scale"]:
        if unit not in ("tokens", "requests"):
            raise ValueError(f"{text!r}: k and M go with tokens and requests only.")
        amount *= SCALES[found["scale"].lower()]
    check_amount(text, amount, unit, per)
    return TokenLimit(amount=amount, unit=unit, per=per)


def check_amount(text: str, amount: float, unit: Unit, per: str) -> None:
    """Raise ValueError for an amount that no limit can have."""
    if amount <= 0:
        raise ValueError(f"{text!r}: a limit is more than 0; revoke the token to shut it out.")
    if unit == "percent" and per not in WINDOWS:
        raise ValueError(f"{text!r}: a share is of a subscription's window, 5h or 7d.")
    if unit == "percent" and amount > 100:
        raise ValueError(f"{text!r}: a share is 100 % at most.")


def check_limits(limits: Sequence[TokenLimit]) -> Sequence[TokenLimit]:
    """Return `limits`. Raises ValueError for two of one kind, or for too many."""
    if len(limits) > MOST_LIMITS:
        raise ValueError(f"a token has {MOST_LIMITS} limits at most")
    kinds = [(limit.unit, limit.per) for limit in limits]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ValueError(f"there are two limits in {kind[0]} per {kind[1]}")
    return limits


def read_written(value: Any) -> Any:
    """Return the limit described by a text; any other value unchanged. Raises ValueError."""
    return parse_limit(value) if isinstance(value, str) else value


Limits: TypeAlias = Annotated[tuple[TokenLimit, ...], AfterValidator(check_limits)]
# Limits as people write them in a file of settings.
WrittenLimits: TypeAlias = Annotated[
    tuple[Annotated[TokenLimit, BeforeValidator(read_written)], ...], AfterValidator(check_limits)
]


def subscription_of(provider: str) -> str:
    """Return the provider whose subscription a request to `provider` uses: `/sdk` uses Claude's."""
    return "claude" if provider == "sdk" else provider


def window_of(span: Span, quota: Quota | None, now: float) -> Window | None:
    """Return the running window `span` of a subscription; None if none was reported."""
    if quota is None:
        return None
    running = (w for w in quota.windows if w.name == span and w.resets_at > now)
    return next(running, None)


def bucket_of(span: Span, now: float, provider: str, quota: Quota | None) -> Bucket:
    """Return the bucket of `span` that `now` falls into.

    A window that the provider has not reported is counted by the clock: in pieces of its length
    since 1970.
    """
    if span in WINDOWS:
        length = WINDOW_SECONDS[span]
        window = window_of(span, quota, now)
        # A provider moves the reset by some seconds between replies: minutes name the window.
        end = round(window.resets_at / 60) * 60 if window else (now // length + 1) * length
        return Bucket(f"{span}:{provider}:{end:.0f}", end)
    today = datetime.fromtimestamp(now).astimezone().date()
    if span == "day":
        first = today
        after = today + timedelta(days=1)
    elif span == "week":
        first = today - timedelta(days=today.weekday())
        after = first + timedelta(days=7)
    else:
        first = today.replace(day=1)
        after = (first + timedelta(days=31)).replace(day=1)
    return Bucket(f"{span}:{first}", datetime.combine(after, time()).astimezone().timestamp())
