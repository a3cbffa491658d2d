from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest

from gateway.providers import Opened, Outgoing
from gateway.waiting.limits_in_force import Outcome, limit_in_force
from gateway.waiting.reset_rooms import LimitReset
from shared.accounts.quota import Quota, Window
from shared.bus.channels import AccessRecord
from shared.runtime.errors import Busy, QuotaReached, SpendLimitReached, UpstreamRefused

NOW = 1_796_000_000.0
SOON = NOW + 600
UNIFIED = {
    "anthropic-ratelimit-unified-status": "rejected",
    "anthropic-ratelimit-unified-7d_opus-status": "rejected",
    "anthropic-ratelimit-unified-7d_opus-utilization": "1.0",
    "anthropic-ratelimit-unified-7d_opus-reset": f"{SOON:.0f}",
}
USAGE_LIMIT = {"error": {"type": "usage_limit_reached", "resets_at": SOON}}
WINDOWS = Quota("codex", NOW, [Window("5h", 1.0, 18_000, SOON + 3), Window("7d", 0.2, 6e5, 2e9)])


def answer(status: int, headers: dict[str, str], document: object = None) -> Opened:
    async def body() -> AsyncIterator[bytes]:
        yield orjson.dumps(document or {})

    async def close() -> None: ...

    return Opened(status, [(k.encode(), v.encode()) for k, v in headers.items()], body(), close)


async def judge(provider: str, outcome: Outcome, quota: Quota | None = None) -> LimitReset | None:
    record = AccessRecord("r", 0.0, provider=provider, model="claude-opus-5")
    return await limit_in_force(Outgoing("POST", "/", {}, b"", record), outcome, quota, NOW)


async def test_anthropics_refusal_names_its_window() -> None:
    expected = LimitReset("the 7-day window for opus of claude", SOON)
    assert await judge("claude", answer(429, UNIFIED)) == expected


async def test_the_backends_refusal_is_named_by_the_windows_reported_before() -> None:
    refusal = answer(429, {}, USAGE_LIMIT)
    assert await judge("codex", refusal, WINDOWS) == LimitReset("the 5-hour window of codex", SOON)
    # The body is still there for the client.
    assert orjson.loads(await refusal.read()) == USAGE_LIMIT


async def test_a_window_nobody_named_is_a_window_of_the_provider() -> None:
    refusal = answer(429, {}, USAGE_LIMIT)
    assert await judge("codex", refusal) == LimitReset("a window of codex", SOON)


@pytest.mark.parametrize(
    "error",
    [
        QuotaReached("no", limit="the window", resets_at=SOON),
        SpendLimitReached("no", limit="the window", resets_at=SOON),
    ],
)
async def test_limits_of_our_own_name_themselves(error: QuotaReached | SpendLimitReached) -> None:
    assert await judge("claude", error) == LimitReset("the window", SOON)


@pytest.mark.parametrize(
    "outcome",
    [
        answer(200, {}),
        answer(429, {"retry-after": "5"}),
        answer(529, UNIFIED),
        Busy(),
        QuotaReached("of an unknown time"),
        UpstreamRefused("no", status=429),
        UpstreamRefused("no", status=529),
    ],
)
async def test_other_answers_have_no_limit_with_a_reset(outcome: Outcome) -> None:
    assert await judge("claude", outcome) is None


async def test_a_refused_turn_of_sdk_waits_for_the_window_that_is_reset_last() -> None:
    windows = [
        Window("5h", 1.0, 18_000, SOON),
        Window("7d", 0.99, 6e5, SOON + 60, "rejected"),
        Window("7d_sonnet", 1.0, 6e5, SOON + 90),
        Window("7d_opus", 1.0, 6e5, NOW - 1),
    ]
    refusal = UpstreamRefused("no", status=429)
    expected = LimitReset("the 7-day window of claude", SOON + 60)
    assert await judge("sdk", refusal, Quota("claude", NOW, windows)) == expected
