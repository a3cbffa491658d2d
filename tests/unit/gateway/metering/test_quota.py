"""Learned in passing, shared between gateways, and the owner's stop."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gateway.metering.quota import Quotas, QuotaWatch
from shared.accounts.quota import Quota, Window, quota_key
from shared.bus.channels import AccessRecord, decode_payload, encode_payload
from shared.runtime.errors import BusUnavailable, QuotaReached
from shared.runtime.metrics import Metrics
from shared.settings.tree import QuotaSettings

HOUR = 3600.0


def told(used: float, **more: str) -> list[tuple[bytes, bytes]]:
    facts = {"5h-utilization": str(used), "5h-reset": str(int(time.time() + HOUR)), **more}
    return [
        (f"anthropic-ratelimit-unified-{name}".encode(), value.encode())
        for name, value in facts.items()
    ]


def record(billed_to: str = "subscription", model: str = "claude-x") -> AccessRecord:
    return AccessRecord("r", 0.0, model=model, billed_to=billed_to)


class Shelf:
    """The bus's keys, between gateways."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.ttls: list[float] = []
        self.away = self.takes_nothing = False

    async def get(self, key: str) -> bytes | None:
        if self.away:
            raise BusUnavailable
        return self.kept.get(key)

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        if self.takes_nothing:
            raise BusUnavailable
        self.kept[key] = value
        self.ttls.append(ttl)


def gateway(shelf: Shelf, **settings: Any) -> Quotas:
    return Quotas(shelf, QuotaSettings(**settings), Metrics())  # type: ignore[arg-type]


def test_replies_to_a_key_tell_nothing_of_a_subscription() -> None:
    watch = QuotaWatch("claude")
    watch.learn(record("api_key"), told(0.5))
    assert watch.quota is None


def test_extra_usage_is_noted_as_its_own_lane() -> None:
    watch, paid, included = QuotaWatch("claude"), record(), record()
    watch.learn(included, told(0.5))
    watch.learn(paid, told(1.0, **{"overage-in-use": "true"}))
    assert (included.billed_to, paid.billed_to) == ("subscription", "extra_usage")


def test_what_claude_code_told_of_a_turn_counts_like_a_reply() -> None:
    watch, paid = QuotaWatch("claude"), record()
    windows = {"five_hour": {"utilization": 1.0, "resetsAt": time.time() + HOUR}}
    watch.learn_report(record("api_key"), {"unifiedWindows": windows})
    assert watch.quota is None
    watch.learn_report(paid, {"unifiedWindows": windows, "isUsingOverage": True})
    assert watch.quota is not None
    assert (watch.quota.windows[0].name, watch.unpublished, paid.billed_to) == (
        "5h",
        True,
        "extra_usage",
    )


def test_credits_of_the_other_vendor_are_extra_usage_too() -> None:
    watch, paid = QuotaWatch("codex"), record()
    facts = {
        "primary-used-percent": "100",
        "primary-window-minutes": "300",
        "credits-has-credits": "True",
    }
    watch.learn(
        paid, [(f"x-codex-{name}".encode(), value.encode()) for name, value in facts.items()]
    )
    assert paid.billed_to == "extra_usage"


def test_the_stop_names_the_window_its_end_and_the_setting() -> None:
    watch = QuotaWatch("claude", stop_at=0.95)
    watch.admit(record())
    watch.learn(record(), told(0.94))
    watch.admit(record())
    watch.learn(record(), told(0.96))
    with pytest.raises(
        QuotaReached, match=r"5h window .* 96%.*QUOTA__STOP_AT_PERCENT=95"
    ) as caught:
        watch.admit(record())
    assert caught.value.status == 429
    assert 3500 < int(caught.value.headers["retry-after"]) <= 3600
    watch.admit(record("api_key"))


def test_without_the_setting_nothing_is_ever_stopped() -> None:
    watch = QuotaWatch("claude")
    watch.learn(record(), told(1.0, **{"overage-in-use": "true"}))
    watch.admit(record())


async def test_what_one_gateway_learns_the_others_know() -> None:
    shelf = Shelf()
    one, other = gateway(shelf), gateway(shelf, stop_at_percent=50)
    one.of("claude").learn(record(), told(0.5))
    await one.share()
    await other.share()
    with pytest.raises(QuotaReached):
        other.of("claude").admit(record())
    assert [quota["provider"] for quota in other.describe()] == ["claude"]
    assert 3500 < shelf.ttls[0] <= HOUR
    shelf.kept.clear()
    await other.share()
    assert not shelf.kept


async def test_a_restarted_gateway_goes_on_with_the_readings_there_were() -> None:
    shelf, now = Shelf(), time.time()
    before = Quota(
        "claude", now - 600, [Window("5h", 0.2, 5 * HOUR, now + HOUR, readings=[(now - 600, 0.2)])]
    )
    shelf.kept[quota_key("claude")] = encode_payload(before)
    quotas = gateway(shelf)
    quotas.of("claude").learn(record(), told(0.4))
    await quotas.share()
    (window,) = decode_payload(Quota, shelf.kept[quota_key("claude")]).windows
    assert [used for _, used in window.readings] == [0.2, 0.4]


async def test_what_was_written_in_another_shape_is_left_aside() -> None:
    shelf = Shelf()
    shelf.kept[quota_key("claude")] = b'{"old": 1}'
    quotas = gateway(shelf)
    await quotas.share()
    assert quotas.describe() == []


async def test_a_bus_that_is_away_costs_only_the_sharing() -> None:
    shelf = Shelf()
    shelf.away = True
    quotas = gateway(shelf)
    quotas.of("claude").learn(record(), told(0.4))
    with pytest.raises(BusUnavailable):
        await quotas.share()
    shelf.away = False
    await quotas.share()
    assert shelf.kept


async def test_a_quota_that_redis_did_not_take_is_shared_by_the_next_look() -> None:
    shelf = Shelf()
    quotas = gateway(shelf)
    quotas.of("claude").learn(record(), told(0.4))
    shelf.takes_nothing = True
    with pytest.raises(BusUnavailable):
        await quotas.share()
    shelf.takes_nothing = False
    await quotas.share()
    assert shelf.kept


async def test_what_was_learned_goes_on_when_the_settings_change_and_redis_is_away() -> None:
    shelf, metrics = Shelf(), Metrics()
    shelf.away = True
    before = Quotas(shelf, QuotaSettings(), metrics)  # type: ignore[arg-type]
    before.of("claude").learn(record(), told(0.9))
    after = Quotas(shelf, QuotaSettings(stop_at_percent=80), metrics, before)  # type: ignore[arg-type]
    with pytest.raises(QuotaReached):
        after.of("claude").admit(record())
    shelf.away = False
    await after.share()
    assert shelf.kept


async def test_the_windows_are_in_the_metrics_and_leave_them() -> None:
    metrics = Metrics()
    quotas = Quotas(Shelf(), QuotaSettings(), metrics)  # type: ignore[arg-type]
    quotas.of("claude").learn(record(), told(0.9))
    quotas.show()
    assert b'ccproxy_quota_used_ratio{provider="claude",window="5h"} 0.9' in metrics.snapshot()
    assert b"ccproxy_quota_empty_timestamp_seconds{" in metrics.snapshot()


def test_events_of_limits_are_learned_like_headers_and_only_from_a_subscription() -> None:
    window = {"used_percent": 40, "window_minutes": 300, "reset_at": time.time() + HOUR}
    event = {"rate_limits": {"primary": window}, "plan_type": "plus"}
    watch = QuotaWatch("codex")
    watch.learn_event(record("api_key"), event)
    assert watch.quota is None
    watch.learn_event(record(), event)
    assert watch.quota is not None
    assert [(found.name, found.used) for found in watch.quota.windows] == [("5h", 0.4)]
    assert watch.unpublished
