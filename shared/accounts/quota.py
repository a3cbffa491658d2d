"""The rest of a subscription, read from the headers of the provider's replies. Pure: no clock, no
I/O.

A window is known by its length, never by its place: `5h`, `7d`, or `7d_opus` where it holds for
some models only. What the headers of one reply leave out is kept from earlier ones, and a few
readings of each window are kept to tell a pace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from shared.formats.fields import inner_object
from shared.runtime.times import UNIT_SECONDS

READINGS_KEPT = 100
READINGS_PER_WINDOW = 300  # so a reading a minute in five hours, one in half an hour in a week
PACE_LOOKS_BACK = 0.2  # of the window: an hour of five, a day and a half of a week
PACE_NEEDS = 0.02  # of the window; until then the pace is the average since it began
RESTARTED = (
    0.5  # a reset this much of the window later is another window: some providers let it creep
)

CLAUDE = re.compile(
    r"anthropic-ratelimit-unified-((\d+)([mhd])(?:_\w+)?)-(utilization|reset|status)"
)
CLAUDE_OVERAGE = "anthropic-ratelimit-unified-overage-in-use"
REPORTED_WINDOWS = {"five_hour": ("5h", 5 * 3600), "seven_day": ("7d", 7 * 86_400)}
CODEX = re.compile(
    r"x-codex-((?:[a-z0-9_-]+-)?(?:primary|secondary))-(used-percent|window-minutes|reset-at|reset-after-seconds)"
)

WINDOW_NAME = re.compile(r"(\d+)([mhd])(?:_(\w+))?")
UNIT_WORDS = {"m": "minute", "h": "hour", "d": "day"}

QUOTA_PREFIX = "quota:"

Reading = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Window:
    """`used` is a fraction (1: nothing is left), `seconds` the length, `resets_at` UTC seconds;
    `status` is the provider's own word. `readings` are earlier (UTC seconds, used), oldest first.
    """

    name: str
    used: float
    seconds: float
    resets_at: float
    status: str = ""
    readings: list[Reading] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Quota:
    """The quota of a subscription. `extra_usage`: use is now paid for on top of the
    subscription.
    """

    provider: str
    seen_at: float
    windows: list[Window]
    plan: str = ""
    extra_usage: bool = False


def quota_key(provider: str) -> str:
    """Return the key in Redis under which the gateways share the quota of `provider`."""
    return f"{QUOTA_PREFIX}{provider}"


def read_quota(provider: str, headers: Iterable[tuple[bytes, bytes]], now: float) -> Quota | None:
    """Return the quota in `headers` (names in lower case); None without any window of a
    subscription.
    """
    text = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    windows = [*_read_claude(text), *_read_codex(text, now)]
    if not windows:
        return None
    credits_left = text.get("x-codex-credits-has-credits", "").lower() == "true"
    full = any(window.used >= 1 for window in windows)
    extra = text.get(CLAUDE_OVERAGE, "").lower() == "true" or (credits_left and full)
    return Quota(provider, now, windows, text.get("x-codex-plan-type", ""), extra)


def _read_claude(headers: dict[str, str]) -> Iterable[Window]:
    found: dict[tuple[str, float], dict[str, str]] = {}
    for header, value in headers.items():
        if match := CLAUDE.fullmatch(header):
            name, count, unit, fact = match.groups()
            found.setdefault((name, int(count) * UNIT_SECONDS[unit]), {})[fact] = value
    for (name, seconds), facts in found.items():
        used = _number(facts.get("utilization"))
        resets_at = _number(facts.get("reset"))
        if used is not None and resets_at is not None:
            yield Window(name, used, seconds, resets_at, facts.get("status", ""))


def read_report(told: dict[str, Any], now: float) -> Quota | None:
    """Return the quota in Claude Code's `rate_limit_event`; None without any window."""
    windows = []
    reported = inner_object(told, "unifiedWindows")
    for name in reported:
        facts = inner_object(reported, name)
        length = next((length for length in REPORTED_WINDOWS if name.startswith(length)), "")
        if (
            length
            and isinstance(facts.get("utilization"), int | float)
            and isinstance(facts.get("resetsAt"), int | float)
        ):
            ours, seconds = REPORTED_WINDOWS[length]
            status = str(facts.get("status", ""))
            windows.append(
                Window(
                    ours + name.removeprefix(length),
                    facts["utilization"],
                    seconds,
                    facts["resetsAt"],
                    status,
                )
            )
    return (
        Quota("claude", now, windows, extra_usage=told.get("isUsingOverage") is True)
        if windows
        else None
    )


def read_event(told: dict[str, Any], now: float) -> Quota | None:
    """Return the quota in a `codex.rate_limits` event; None without any window.

    The event tells the same facts as the headers, so it is read as if it were headers.
    """
    credits_told = inner_object(told, "credits")
    limits = inner_object(told, "rate_limits")
    # The event has the facts of the headers under other names, so they become headers for the one
    # reader.
    facts: dict[str, Any] = {
        "x-codex-plan-type": told.get("plan_type"),
        "x-codex-credits-has-credits": credits_told.get("has_credits"),
    }
    for place in ("primary", "secondary"):
        for name, value in inner_object(limits, place).items():
            facts[f"x-codex-{place}-{name.replace('_', '-')}"] = value
    headers = [
        (name.encode(errors="replace"), str(value).encode(errors="replace"))
        for name, value in facts.items()
        if isinstance(value, str | int | float)
    ]
    return read_quota("codex", headers, now)


def event_of_page(page: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of the backend's page of usage as a `codex.rate_limits` event. The page has
    the lengths of windows in seconds, and other names.
    """
    windows = {}
    for place in ("primary", "secondary"):
        window = inner_object(inner_object(page, "rate_limit"), f"{place}_window")
        seconds = window.get("limit_window_seconds")
        if isinstance(seconds, int | float):
            windows[place] = window | {"window_minutes": seconds / 60}
    return {
        "plan_type": page.get("plan_type"),
        "credits": page.get("credits"),
        "rate_limits": windows,
    }


def _read_codex(headers: dict[str, str], now: float) -> Iterable[Window]:
    found: dict[str, dict[str, float]] = {}
    for header, value in headers.items():
        if (match := CODEX.fullmatch(header)) and (number := _number(value)) is not None:
            found.setdefault(match[1], {})[match[2]] = number
    for place, facts in found.items():
        if "used-percent" not in facts or not facts.get("window-minutes"):
            continue  # which window it is cannot be told
        seconds = facts["window-minutes"] * 60
        resets_at = facts.get("reset-at", now + facts.get("reset-after-seconds", seconds))
        family = place.removesuffix("primary").removesuffix("secondary").strip("-")
        name = span(seconds) + (f"_{family}" if family else "")
        yield Window(name, facts["used-percent"] / 100, seconds, resets_at)


def _number(text: str | None) -> float | None:
    """A finite number of a reasonable size, else None."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if abs(number) < 1e11 else None


def span(seconds: float) -> str:
    """Return a length of time in the largest whole unit: 18000 is `5h`."""
    for unit, size in reversed(UNIT_SECONDS.items()):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds / 60:g}m"


def merge(known: Quota | None, news: Quota) -> Quota:
    """Return the quota after `news`. `news` may be older than `known`."""
    if known is None:
        return replace(
            news,
            windows=[
                _with_reading(window, window.readings, news.seen_at) for window in news.windows
            ],
        )
    if news.seen_at <= known.seen_at:
        return known
    before = {window.name: window for window in known.windows}
    windows = [
        _continued(before.pop(window.name, None), window, news.seen_at) for window in news.windows
    ]
    # A reply names only the windows that concern its model, so the others are kept until they end.
    kept = [window for window in before.values() if window.resets_at > news.seen_at]
    return replace(news, windows=[*windows, *kept], plan=news.plan or known.plan)


def _continued(before: Window | None, window: Window, at: float) -> Window:
    # A window that has begun anew starts without readings: those of the window before say nothing
    # about its pace.
    if before is None or has_restarted(before.resets_at, window):
        # The news may come from another process, with readings of its own; the longer row of the
        # two is kept.
        return _with_reading(window, [], at)
    return _with_reading(window, max(before.readings, window.readings, key=len), at)


def has_restarted(resets_at: float, window: Window) -> bool:
    """Return True if `window` is a successor of the window of the same name with a reset at
    `resets_at`.
    """
    return window.resets_at - resets_at > RESTARTED * window.seconds


def _with_reading(window: Window, readings: list[Reading], at: float) -> Window:
    if not readings or at - readings[-1][0] >= window.seconds / READINGS_PER_WINDOW:
        readings = [*readings, (at, window.used)][-READINGS_KEPT:]
    return replace(window, readings=readings)


def used_now(window: Window, now: float) -> float:
    """Return the used fraction of a window at `now`; a window that has ended is empty again."""
    return window.used if window.resets_at > now else 0.0


def pace(window: Window, now: float) -> float:
    """The fraction used per second: of late where there is enough to tell, else on average since
    the window began.
    """
    if window.resets_at <= now:
        return 0.0
    late = [
        reading
        for reading in window.readings
        if reading[0] >= now - PACE_LOOKS_BACK * window.seconds
    ]
    if late and now - late[0][0] >= PACE_NEEDS * window.seconds:
        return max(0.0, window.used - late[0][1]) / (now - late[0][0])
    elapsed = now - (window.resets_at - window.seconds)
    return window.used / elapsed if elapsed > 0 else 0.0


def empty_at(window: Window, now: float) -> float | None:
    """Return the time (UTC seconds) of the window's exhaustion at the current pace; None if the
    reset comes first.
    """
    used = used_now(window, now)
    speed = pace(window, now)
    if used >= 1:
        return now
    if not speed:
        return None
    at = now + (1 - used) / speed
    return at if at < window.resets_at else None


def used_up(quota: Quota, model: str, limit: float, now: float) -> Window | None:
    """Return the fullest window for `model` if the fraction `limit` of it is used or extra usage
    has begun.
    """
    concerned = [
        window for window in quota.windows if window.resets_at > now and concerns(window, model)
    ]
    fullest = max(concerned, key=lambda window: window.used, default=None)
    return fullest if fullest is not None and (fullest.used >= limit or quota.extra_usage) else None


def concerns(window: Window, model: str) -> bool:
    """Return True if the window limits requests for `model`."""
    _, _, some_models = window.name.partition("_")
    return some_models in model


def full_window(quota: Quota, model: str, now: float) -> Window | None:
    """Return the used-up window for `model` with the latest reset; None without a used-up
    window.
    """
    full = [
        window
        for window in quota.windows
        if window.resets_at > now
        and (window.used >= 1 or window.status == "rejected")
        and concerns(window, model)
    ]
    return max(full, key=lambda window: window.resets_at, default=None)


def words_of_window(provider: str, name: str) -> str:
    """Return a window for people: `5h` of claude is `the 5-hour window of claude`."""
    found = WINDOW_NAME.fullmatch(name)
    if found is None:
        return f"a window of {provider}"
    models = f" for {found[3]}" if found[3] else ""
    return f"the {found[1]}-{UNIT_WORDS[found[2]]} window{models} of {provider}"


def describe_quota(quota: Quota, now: float) -> dict[str, Any]:
    """For people and programs: fractions as percent, forecasts worked out."""
    windows = [
        {
            "window": window.name,
            "used_percent": round(used_now(window, now) * 100, 2),
            "resets_at": window.resets_at,
            "percent_per_hour": round(pace(window, now) * 360_000, 3),
            "empty_at": empty_at(window, now),
            "status": window.status if window.resets_at > now else "",
            "readings": window.readings if window.resets_at > now else [],
        }
        for window in sorted(quota.windows, key=lambda window: (window.seconds, window.name))
    ]
    return {
        "provider": quota.provider,
        "plan": quota.plan,
        "seen_at": quota.seen_at,
        "extra_usage": quota.extra_usage,
        "windows": windows,
    }
