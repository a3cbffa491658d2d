"""A refusal of a provider, judged: is a window of the subscription used up?

Two answers of the providers mean that, and no others: Anthropic's 429 with
`anthropic-ratelimit-unified-status: rejected`, and the ChatGPT backend's 429 of the kind
`usage_limit_reached`. A 429 of a limit per minute, an overloaded server, and an answer of our own
are never such a refusal. Pure: no clock, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any

from gateway.providers.refusals import number_in
from gateway.server.asgi import Headers
from shared.accounts.quota import read_quota
from shared.formats.fields import inner_object
from shared.runtime.exact_json import load_json

UNIFIED = b"anthropic-ratelimit-unified-"
USAGE_LIMIT = "usage_limit_reached"
# The ChatGPT backend's limits for all models (reports in openai/codex); each other limit belongs to
# a model of its own.
GENERAL_LIMITS = frozenset({"", "codex", "premium"})
UNKNOWN_RESET_SECONDS = 300.0  # a refusal that names no reset: ask the provider again after it
LONGEST_WINDOW_SECONDS = 32 * 86_400.0  # a month; a later reset is no time


@dataclass(frozen=True, slots=True)
class ExhaustedWindow:
    """A window that the provider calls used up until `until`, UTC seconds.

    `models` is a part of the names of the models concerned, empty for all models. `name` is the
    window as `shared/accounts/quota.py` names it, empty when the refusal does not name it.
    `is_reset_known` is False when the provider named no reset, and `until` is our guess.
    """

    until: float
    name: str = ""
    models: str = ""
    is_reset_known: bool = True


def exhausted_window(
    provider: str, status: int, headers: Headers, body: bytes, model: str, now: float
) -> ExhaustedWindow | None:
    """Return the window called used up in the answer of `provider` to a request for `model`; None
    for any other answer.

    Header names are in lower case. `body` may be empty for `claude`, whose headers decide alone.
    """
    if status != 429:
        return None
    if provider == "claude":
        return _claude_window(headers, model, now)
    if provider == "codex":
        return _codex_window(headers, body, model, now)
    return None


def _claude_window(headers: Headers, model: str, now: float) -> ExhaustedWindow | None:
    told = dict(headers)
    if told.get(UNIFIED + b"status") != b"rejected":
        return None
    quota = read_quota("claude", headers, now)
    rejected = [
        window for window in (quota.windows if quota else []) if window.status == "rejected"
    ]
    # Every rejected window must end before a request is served again, so the latest reset counts.
    latest = max(rejected, key=lambda window: window.resets_at, default=None)
    if latest is not None:
        name = latest.name
        resets_at = latest.resets_at
    else:
        # A window of some models may be named in the claim only: `seven_day_opus`.
        name = told.get(UNIFIED + b"representative-claim", b"").decode("latin-1")
        for words, short in (("five_hour", "5h"), ("seven_day", "7d")):
            name = short + name.removeprefix(words) if name.startswith(words) else name
        resets_at = _number(told.get(UNIFIED + b"reset"))
    _, _, models = name.partition("_")
    if models not in model:
        models = model  # a window of models whose name does not say which
    if any("_" not in window.name for window in rejected):
        models = ""
    return _window(resets_at, _number(told.get(b"retry-after")), name, models, now)


def _codex_window(headers: Headers, body: bytes, model: str, now: float) -> ExhaustedWindow | None:
    error = _error_in(body)
    if USAGE_LIMIT not in (error.get("type"), error.get("code")):
        return None
    told = dict(headers)
    limit = told.get(b"x-codex-active-limit", b"").decode("latin-1").lower()
    models = "" if limit in GENERAL_LIMITS else model
    wait = number_in(error, "resets_in_seconds", LONGEST_WINDOW_SECONDS)
    resets_at = number_in(error, "resets_at", now + LONGEST_WINDOW_SECONDS)
    quota = read_quota("codex", headers, now)
    full = [window for window in (quota.windows if quota else []) if window.used >= 1]
    latest = max(full, key=lambda window: window.resets_at, default=None)
    if not resets_at and not wait and latest is not None:
        resets_at = latest.resets_at
    name = latest.name if latest else ""
    return _window(resets_at, wait or _number(told.get(b"retry-after")), name, models, now)


def _window(
    resets_at: float, wait_seconds: float, name: str, models: str, now: float
) -> ExhaustedWindow:
    """Return the window with the end `resets_at`, else after `wait_seconds`, else after a guess.

    A reset in the past comes from two clocks that differ; the provider has refused all the same.
    """
    if now < resets_at <= now + LONGEST_WINDOW_SECONDS:
        return ExhaustedWindow(resets_at, name, models)
    if 0 < wait_seconds <= LONGEST_WINDOW_SECONDS:
        return ExhaustedWindow(now + wait_seconds, name, models)
    return ExhaustedWindow(now + UNKNOWN_RESET_SECONDS, name, models, is_reset_known=False)


def _number(value: bytes | None) -> float:
    """Return a positive number in a header; 0 for any other value."""
    try:
        number = float(value or b"")
    except ValueError:
        return 0.0
    return number if 0 < number < float("inf") else 0.0


def _error_in(body: bytes) -> dict[str, Any]:
    try:
        found = load_json(body)
    except JSONDecodeError:
        return {}
    return inner_object(found, "error") if isinstance(found, dict) else {}
