"""A subscription's windows from headers alone, and when they will be empty."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.accounts.quota import (
    Quota,
    Window,
    describe_quota,
    empty_at,
    event_of_page,
    merge,
    pace,
    read_event,
    read_quota,
    read_report,
    span,
    used_now,
    used_up,
)
from shared.bus.channels import decode_payload, encode_payload

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86_400.0


def unified(facts: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    return [
        (b"anthropic-ratelimit-unified-" + name.encode(), str(value).encode())
        for name, value in facts.items()
    ]


def codex(facts: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    return [(b"x-codex-" + name.encode(), str(value).encode()) for name, value in facts.items()]


FIVE_HOURS = {"5h-utilization": 0.42, "5h-reset": int(NOW + HOUR), "5h-status": "allowed"}
WEEK = {"7d-utilization": 0.1, "7d-reset": int(NOW + DAY)}


def quota_of(found: Quota | None) -> Quota:
    assert found is not None
    return found


def test_claudes_windows_are_read_with_those_of_single_models() -> None:
    found = quota_of(
        read_quota(
            "claude",
            unified(FIVE_HOURS | WEEK | {"7d_opus-utilization": 1, "7d_opus-reset": NOW + DAY}),
            NOW,
        )
    )
    assert {window.name: (window.used, window.seconds) for window in found.windows} == {
        "5h": (0.42, 5 * HOUR),
        "7d": (0.1, 7 * DAY),
        "7d_opus": (1.0, 7 * DAY),
    }
    assert found.windows[0].status == "allowed"
    assert not found.extra_usage


def test_extra_usage_is_told_by_its_header() -> None:
    assert quota_of(
        read_quota("claude", unified(FIVE_HOURS | {"overage-in-use": "true"}), NOW)
    ).extra_usage


@pytest.mark.parametrize("place", ["primary", "secondary"])
def test_codex_windows_are_told_apart_by_their_length(place: str) -> None:
    facts = {
        f"{place}-used-percent": 12.5,
        f"{place}-window-minutes": 10_080,
        f"{place}-reset-at": NOW + DAY,
    }
    (window,) = quota_of(read_quota("codex", codex(facts | {"plan-type": "free"}), NOW)).windows
    assert (window.name, window.used, window.seconds, window.resets_at) == (
        "7d",
        0.125,
        7 * DAY,
        NOW + DAY,
    )


def test_a_codex_limit_of_its_own_gets_a_window_of_its_own() -> None:
    facts = {
        "spark-primary-used-percent": 5,
        "spark-primary-window-minutes": 300,
        "spark-primary-reset-after-seconds": 9,
    }
    (window,) = quota_of(read_quota("codex", codex(facts), NOW)).windows
    assert (window.name, window.resets_at) == ("5h_spark", NOW + 9)


def test_credits_that_pay_for_a_full_window_are_extra_usage() -> None:
    facts = {
        "primary-used-percent": 100,
        "primary-window-minutes": 300,
        "credits-has-credits": "True",
    }
    assert quota_of(read_quota("codex", codex(facts), NOW)).extra_usage
    assert not quota_of(
        read_quota("codex", codex(facts | {"primary-used-percent": 99}), NOW)
    ).extra_usage


@pytest.mark.parametrize(
    "told",
    [
        [],
        [(b"anthropic-ratelimit-requests-limit", b"4000")],
        unified({"5h-utilization": "lots", "5h-reset": NOW}),
        unified({"5h-utilization": "nan", "5h-reset": NOW}),
        unified({"5h-utilization": 0.5}),
        codex({"primary-used-percent": 5}),
        codex({"primary-used-percent": 5, "primary-window-minutes": 0}),
    ],
)
def test_headers_that_tell_no_window_tell_nothing(told: list[tuple[bytes, bytes]]) -> None:
    assert read_quota("claude", told, NOW) is None


def test_a_length_is_named_in_its_largest_whole_unit() -> None:
    assert [span(seconds) for seconds in (60, 5400, 18_000, 604_800)] == ["1m", "90m", "5h", "7d"]


def seen(used: float, at: float, resets_at: float = NOW + 3 * HOUR, **more: Any) -> Quota:
    return Quota("claude", at, [Window("5h", used, 5 * HOUR, resets_at)], **more)


def test_readings_are_kept_a_minute_apart_and_bounded() -> None:
    known = None
    for second in range(0, 3 * 3600, 10):
        known = merge(known, seen(second / 20_000, NOW - 3 * HOUR + second))
    assert known is not None
    (window,) = known.windows
    assert len(window.readings) == 100
    assert {
        round(later[0] - earlier[0])
        for earlier, later in zip(window.readings, window.readings[1:], strict=False)
    } == {60}


def test_news_older_than_what_is_known_changes_nothing() -> None:
    known = merge(None, seen(0.5, NOW))
    assert merge(known, seen(0.1, NOW - 5)) is known


def test_a_window_that_was_reset_forgets_its_readings() -> None:
    known = merge(merge(None, seen(0.5, NOW - 600)), seen(0.6, NOW))
    assert len(known.windows[0].readings) == 2
    again = merge(known, seen(0.01, NOW + 4 * HOUR, NOW + 8 * HOUR))
    assert again.windows[0].readings == [(NOW + 4 * HOUR, 0.01)]


def test_a_window_the_news_do_not_mention_is_kept_until_its_reset() -> None:
    opus = Quota("claude", NOW, [Window("7d_opus", 0.9, 7 * DAY, NOW + 60)], plan="max")
    soon, late = merge(opus, seen(0.2, NOW + 30)), merge(opus, seen(0.2, NOW + 90))
    assert [window.name for window in soon.windows] == ["5h", "7d_opus"]
    assert [window.name for window in late.windows] == ["5h"]
    assert late.plan == "max"


def test_the_pace_is_that_of_late() -> None:
    window = Window(
        "5h",
        0.5,
        5 * HOUR,
        NOW + 2 * HOUR,
        readings=[(NOW - 3 * HOUR, 0.0), (NOW - 1800, 0.4), (NOW, 0.5)],
    )
    assert pace(window, NOW) == pytest.approx(0.1 / 1800)


def test_a_pace_that_lasts_until_the_reset_has_no_end() -> None:
    window = Window("5h", 0.5, 5 * HOUR, NOW + 2 * HOUR, readings=[(NOW - 1800, 0.45)])
    assert empty_at(window, NOW) is None
    faster = replace(window, readings=[(NOW - 1800, 0.25)])
    assert empty_at(faster, NOW) == pytest.approx(NOW + 3600)


def test_without_enough_readings_the_pace_is_the_average_since_the_window_began() -> None:
    window = Window("5h", 0.8, 5 * HOUR, NOW + HOUR, readings=[(NOW - 10, 0.79)])
    assert pace(window, NOW) == pytest.approx(0.8 / (4 * HOUR))


def test_a_pause_slows_the_pace() -> None:
    window = Window("5h", 0.5, 5 * HOUR, NOW + 2 * HOUR, readings=[(NOW - 1800, 0.3)])
    assert pace(window, NOW + 1200) < pace(window, NOW)


def test_a_window_that_ended_is_empty_and_still() -> None:
    window = Window("5h", 0.9, 5 * HOUR, NOW - 1)
    assert (used_now(window, NOW), pace(window, NOW), empty_at(window, NOW)) == (0.0, 0.0, None)
    full = Window("5h", 1.0, 5 * HOUR, NOW + 1)
    assert empty_at(full, NOW) == NOW


def test_only_windows_that_hold_for_the_model_stop_it() -> None:
    windows = [Window("5h", 0.5, 5 * HOUR, NOW + 60), Window("7d_opus", 1.0, 7 * DAY, NOW + 60)]
    quota = Quota("claude", NOW, windows)
    assert used_up(quota, "claude-sonnet-5", 1.0, NOW) is None
    opus = used_up(quota, "claude-opus-5", 1.0, NOW)
    assert opus is not None
    assert opus.name == "7d_opus"
    assert used_up(quota, "claude-sonnet-5", 0.5, NOW) is windows[0]
    assert used_up(quota, "claude-opus-5", 0.5, NOW + 61) is None
    assert used_up(replace(quota, extra_usage=True), "claude-sonnet-5", 1.0, NOW) is windows[0]


def test_a_quota_survives_the_bus_and_is_told_in_percent() -> None:
    quota = merge(None, seen(0.5, NOW))
    assert decode_payload(Quota, encode_payload(quota)).windows[0].readings == [(NOW, 0.5)]
    (window,) = describe_quota(quota, NOW)["windows"]
    assert (window["used_percent"], window["percent_per_hour"]) == (50.0, 25.0)
    assert window["empty_at"] == pytest.approx(NOW + 2 * HOUR)
    assert describe_quota(quota, NOW + 4 * HOUR)["windows"][0]["used_percent"] == 0.0


def test_what_claude_code_tells_of_its_limits_is_the_same_windows() -> None:
    event = {
        "status": "allowed",
        "isUsingOverage": True,
        "unifiedWindows": {
            "five_hour": {"utilization": 0.83, "resetsAt": NOW + 60, "status": "allowed_warning"},
            "seven_day_opus": {"utilization": 0.2, "resetsAt": NOW + 90},
            "seven_day": {"utilization": None, "resetsAt": NOW},
            "new_moon": {"utilization": 0.5, "resetsAt": NOW},
        },
    }
    windows = [
        Window("5h", 0.83, 5 * HOUR, NOW + 60, "allowed_warning"),
        Window("7d_opus", 0.2, 7 * DAY, NOW + 90),
    ]
    assert read_report(event, NOW) == Quota("claude", NOW, windows, extra_usage=True)
    assert read_report({"status": "allowed", "isUsingOverage": False}, NOW) is None


EVENT: dict[str, Any] = {
    "type": "codex.rate_limits",
    "plan_type": "plus",
    "rate_limits": {
        "allowed": True,
        "primary": {
            "used_percent": 7,
            "window_minutes": 300,
            "reset_after_seconds": 600,
            "reset_at": NOW + HOUR,
        },
        "secondary": {"used_percent": 29.5, "window_minutes": 10_080, "reset_after_seconds": 60},
    },
    "credits": {"has_credits": False},
}


def test_an_event_of_limits_tells_the_windows_that_headers_tell() -> None:
    found = quota_of(read_event(EVENT, NOW))
    assert [(window.name, window.used, window.resets_at) for window in found.windows] == [
        ("5h", 0.07, NOW + HOUR),
        ("7d", 0.295, NOW + 60),
    ]
    assert (found.plan, found.extra_usage) == ("plus", False)


def test_an_event_of_limits_tells_of_credits_that_are_used() -> None:
    full = {"primary": {"used_percent": 100, "window_minutes": 300, "reset_at": NOW + HOUR}}
    assert quota_of(
        read_event(EVENT | {"rate_limits": full, "credits": {"has_credits": True}}, NOW)
    ).extra_usage


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"rate_limits": None},
        {"rate_limits": []},
        {"rate_limits": {"primary": None, "secondary": 7}},
        {"rate_limits": {"primary": {"used_percent": "many", "window_minutes": 300}}},
        {"rate_limits": {"primary": {"used_percent": 7}}, "credits": [], "plan_type": 3},
        {
            "rate_limits": {
                "primary": {"used_percent": {}, "window_minutes": True, "\ud800": "\ud800"}
            }
        },
    ],
)
def test_an_event_of_an_odd_shape_tells_nothing(odd: dict[str, Any]) -> None:
    assert read_event(odd, NOW) is None


def test_the_page_of_usage_tells_the_windows_that_an_event_tells() -> None:
    week = {"used_percent": 12.5, "limit_window_seconds": 604_800, "reset_at": NOW + 60}
    page = {
        "plan_type": "plus",
        "rate_limit": {"primary_window": week, "secondary_window": None},
    }
    found = quota_of(read_event(event_of_page(page), NOW))
    assert found.plan == "plus"
    [window] = found.windows
    assert (window.name, window.used, window.seconds) == ("7d", 0.125, 604_800)
    assert window.resets_at == NOW + 60


@pytest.mark.parametrize(
    "page", [{}, {"rate_limit": 5}, {"rate_limit": {"primary_window": {"used_percent": 1}}}]
)
def test_a_page_of_usage_without_windows_tells_nothing(page: dict[str, Any]) -> None:
    assert read_event(event_of_page(page), NOW) is None


@pytest.mark.parametrize(
    "windows", [7, [], "five_hour", {"five_hour": None}, {"five_hour": 0.5}, {"five_hour": ["x"]}]
)
def test_a_report_of_another_form_has_no_window(windows: Any) -> None:
    assert read_report({"unifiedWindows": windows}, NOW) is None
