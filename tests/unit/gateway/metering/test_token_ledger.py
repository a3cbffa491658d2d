"""The ledger without Redis: it goes on by what it counts itself, and says why it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.metering.token_ledger import TokenLedger
from shared.accounts.quota import Quota, Window
from shared.accounts.token_limits import Limits, parse_limit
from shared.bus.channels import AccessRecord
from shared.runtime.errors import BusUnavailable, Busy, SpendLimitReached

NOW = 1_795_953_600.0  # 2026-11-29 12:00 UTC


@dataclass
class AwayBus:
    """A bus whose Redis is away."""

    connected: bool = False

    async def run_script(self, *_: Any) -> Any:
        raise BusUnavailable


@dataclass(frozen=True)
class Holder:
    """The caller of a request."""

    name: str = "chatbot"
    limits: Limits = ()
    at_once: int = 0


@dataclass
class Ledger:
    """A ledger whose every request costs a dollar, at a time that stands still."""

    quotas: dict[str, Quota] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bus: Any = AwayBus()
        self.ledger = TokenLedger(bus, lambda _: 1.0, self.quotas.get, lambda: NOW)
        self.begun = 0

    async def begin(self, caller: Holder, provider: str = "claude") -> AccessRecord:
        self.begun += 1
        record = AccessRecord(
            f"req_{self.begun}", NOW, "POST", "/", provider=provider, tokens_input=100
        )
        await self.ledger.admit(caller, record)
        return record

    async def run(self, caller: Holder, provider: str = "claude") -> None:
        self.ledger.count(caller, await self.begin(caller, provider))


def holder(*limits: str, at_once: int = 0) -> Holder:
    return Holder(limits=tuple(map(parse_limit, limits)), at_once=at_once)


@pytest.mark.parametrize("limit", ["$2/day", "200 tokens/day", "2 requests/day"])
async def test_a_token_is_refused_once_its_limit_is_used_up(limit: str) -> None:
    kept = Ledger()
    caller = holder(limit)
    await kept.run(caller)
    await kept.run(caller)
    with pytest.raises(SpendLimitReached, match="spend limit reached · resets Nov 30 · The token"):
        await kept.run(caller)


async def test_a_refusal_says_when_to_come_back() -> None:
    kept = Ledger()
    caller = holder("1 request/day", "1 request/month")
    await kept.run(caller)
    with pytest.raises(SpendLimitReached) as refused:
        await kept.run(caller)
    # The limit that opens last is named: to come back earlier would be in vain.
    assert "resets Dec 1" in refused.value.message
    headers = refused.value.headers
    assert headers["x-should-retry"] == "false"
    end = NOW + int(headers["retry-after"])
    assert headers["anthropic-ratelimit-unified-reset"] == f"{end:.0f}"


async def test_a_refused_request_spends_nothing() -> None:
    kept = Ledger()
    caller = holder("1 request/day")
    await kept.run(caller)
    for _ in range(3):
        with pytest.raises(SpendLimitReached):
            await kept.run(caller)
    (use,) = kept.ledger.uses(caller.name, caller.limits, "claude")
    assert use.fraction == 1


async def test_a_token_without_limits_is_not_counted() -> None:
    kept = Ledger()
    for _ in range(3):
        await kept.run(Holder())
    assert kept.ledger.uses("chatbot", (parse_limit("$1/day"),), "claude")[0].fraction == 0


async def test_more_requests_at_once_than_allowed_are_refused_until_one_ends() -> None:
    kept = Ledger()
    caller = holder(at_once=2)
    first = await kept.begin(caller)
    await kept.begin(caller)
    with pytest.raises(Busy, match="may have 2 requests at once"):
        await kept.begin(caller)
    kept.ledger.count(caller, first)
    await kept.begin(caller)


async def test_the_requests_of_one_token_leave_another_alone() -> None:
    kept = Ledger()
    caller = holder("1 request/day")
    await kept.run(caller)
    await kept.run(Holder("other", caller.limits))


async def test_a_limit_per_window_counts_each_subscription_apart() -> None:
    kept = Ledger()
    caller = holder("1 request/5h")
    await kept.run(caller, "claude")
    await kept.run(caller, "codex")
    # `/sdk` uses the subscription of Claude.
    with pytest.raises(SpendLimitReached):
        await kept.run(caller, "sdk")


async def test_a_share_of_a_window_is_the_token_s_part_of_what_all_spent() -> None:
    kept = Ledger({"claude": Quota("claude", NOW, [Window("5h", 0.5, 18_000, NOW + 600)])})
    caller = holder("30%/5h")
    for number, name in enumerate(["own", "other"]):
        kept.ledger.count_for_shares(
            AccessRecord(f"{name}_{number}", NOW, "POST", "/", provider="claude")
        )
    await kept.run(caller)
    # The token spent one of two dollars: a quarter of the window.
    record = await kept.begin(caller)
    kept.ledger.count(caller, record)
    kept.ledger.count_for_shares(record)
    # Now it spent two of three: a third of the window.
    with pytest.raises(SpendLimitReached, match="30%/5h"):
        await kept.run(caller)


async def test_a_request_that_was_not_admitted_is_not_counted() -> None:
    kept = Ledger()
    caller = holder("$1/day")
    kept.ledger.count(caller, AccessRecord("req_x", NOW, "GET", "/health"))
    await kept.run(caller)


class Scripts:
    """A bus that answers every script with what a test gives."""

    connected = True

    def __init__(self) -> None:
        self.answers: list[Any] = []

    async def run_script(self, script: str, keys: Sequence[str], *_: Any) -> Any:
        return self.answers.pop(0)


async def test_the_sums_of_other_gateways_count() -> None:
    bus: Any = Scripts()
    bus.answers = [[b"run", [b"5000000", b"0", b"7"], 1]]
    ledger = TokenLedger(bus, lambda _: 1.0, lambda _: None, lambda: NOW)
    with pytest.raises(SpendLimitReached):
        await ledger.admit(holder("$5/day"), AccessRecord("a", NOW, "POST", "/"))
