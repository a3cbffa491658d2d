"""Only a provider's own refusal of a used-up window counts as one; limits per minute, overload and
odd answers do not.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.providers.exhaustion import (
    LONGEST_WINDOW_SECONDS,
    UNKNOWN_RESET_SECONDS,
    ExhaustedWindow,
    exhausted_window,
)

NOW = 1_796_000_000.0
OPUS = "claude-opus-4-8"


def claude(code: int = 429, /, **told: str) -> ExhaustedWindow | None:
    """Return the window of an answer with the unified headers `told`."""
    headers = [
        (f"anthropic-ratelimit-unified-{name}".encode(), value.encode())
        for name, value in told.items()
    ]
    return exhausted_window("claude", code, headers, b"", OPUS, NOW)


def window_headers(name: str, resets_in: int, status: str = "rejected") -> dict[str, str]:
    return {
        f"{name}-status": status,
        f"{name}-utilization": "1.0" if status == "rejected" else "0.4",
        f"{name}-reset": f"{NOW + resets_in:.0f}",
    }


def test_a_rejected_window_of_claude_counts_until_its_reset() -> None:
    found = claude(**window_headers("5h", 600), status="rejected")
    assert found == ExhaustedWindow(NOW + 600, "5h")


def test_the_latest_reset_counts_when_several_windows_are_rejected() -> None:
    told = window_headers("5h", 60) | window_headers("7d", 90_000) | {"status": "rejected"}
    found = claude(**told)
    assert found == ExhaustedWindow(NOW + 90_000, "7d")


def test_a_rejected_window_of_some_models_concerns_those_models_only() -> None:
    told = window_headers("5h", 60, "allowed") | window_headers("7d_opus", 9_000)
    found = claude(**told, status="rejected")
    assert found == ExhaustedWindow(NOW + 9_000, "7d_opus", "opus")


def test_a_claim_names_the_window_when_no_window_is_listed() -> None:
    told = {"status": "rejected", "reset": f"{NOW + 50:.0f}"}
    found = claude(**told, **{"representative-claim": "seven_day_opus"})
    assert found == ExhaustedWindow(NOW + 50, "7d_opus", "opus")
    found = claude(**told, **{"representative-claim": "five_hour"})
    assert found == ExhaustedWindow(NOW + 50, "5h")


def test_a_window_whose_name_hides_its_models_concerns_the_refused_model() -> None:
    found = claude(**window_headers("7d_oi", 9_000), status="rejected")
    assert found == ExhaustedWindow(NOW + 9_000, "7d_oi", OPUS)


@pytest.mark.parametrize(
    ("code", "word"),
    [(429, "allowed"), (429, "allowed_warning"), (529, "rejected"), (200, "rejected")],
)
def test_throttling_and_overload_of_claude_are_no_used_up_window(code: int, word: str) -> None:
    assert claude(code, **window_headers("5h", 600, "allowed"), status=word) is None


def test_a_429_without_words_about_the_subscription_is_no_used_up_window() -> None:
    assert claude() is None
    headers = [(b"anthropic-ratelimit-requests-remaining", b"0"), (b"retry-after", b"5")]
    assert exhausted_window("claude", 429, headers, b"", OPUS, NOW) is None


def test_a_rejected_overage_alone_is_no_used_up_window() -> None:
    assert claude(**{"status": "allowed", "overage-status": "rejected"}) is None


@pytest.mark.parametrize("reset", ["0", "-5", "soon", "nan", "1e30", f"{NOW - 5:.0f}"])
def test_a_reset_that_is_no_time_to_come_is_a_guess(reset: str) -> None:
    found = claude(status="rejected", reset=reset)
    assert found == ExhaustedWindow(NOW + UNKNOWN_RESET_SECONDS, is_reset_known=False)


def test_the_time_to_wait_stands_in_for_a_reset_in_the_past() -> None:
    headers = [
        (b"anthropic-ratelimit-unified-status", b"rejected"),
        (b"anthropic-ratelimit-unified-reset", f"{NOW - 1:.0f}".encode()),
        (b"retry-after", b"90"),
    ]
    found = exhausted_window("claude", 429, headers, b"", OPUS, NOW)
    assert found is not None
    assert found.until == NOW + 90


def codex(
    error: Any, status: int = 429, headers: list[tuple[bytes, bytes]] | None = None
) -> ExhaustedWindow | None:
    body = json.dumps({"error": error}).encode()
    return exhausted_window("codex", status, headers or [], body, "gpt-5.5", NOW)


def test_a_usage_limit_of_codex_counts_until_its_reset() -> None:
    error = {"type": "usage_limit_reached", "resets_at": int(NOW) + 70, "resets_in_seconds": 99}
    assert codex(error) == ExhaustedWindow(NOW + 70)
    assert codex({"type": "usage_limit_reached", "resets_in_seconds": 99}) == ExhaustedWindow(
        NOW + 99
    )


def test_the_full_window_in_the_headers_names_a_reset_that_the_body_leaves_out() -> None:
    headers = [
        (b"x-codex-primary-used-percent", b"100.0"),
        (b"x-codex-primary-window-minutes", b"300"),
        (b"x-codex-primary-reset-at", f"{NOW + 800:.0f}".encode()),
        (b"x-codex-secondary-used-percent", b"20"),
        (b"x-codex-secondary-window-minutes", b"10080"),
        (b"x-codex-secondary-reset-at", f"{NOW + 80_000:.0f}".encode()),
    ]
    found = codex({"type": "usage_limit_reached"}, headers=headers)
    assert found == ExhaustedWindow(NOW + 800, "5h")


def test_a_limit_of_one_model_of_codex_concerns_that_model_only() -> None:
    error = {"type": "usage_limit_reached", "resets_in_seconds": 9}
    for limit, models in ((b"codex", ""), (b"Premium", ""), (b"codex_spark", "gpt-5.5")):
        found = codex(error, headers=[(b"x-codex-active-limit", limit)])
        assert found is not None
        assert found.models == models


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, {"type": "invalid_request_error", "code": "rate_limit_exceeded"}),
        (429, {"type": "usage_not_included"}),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}),
        (503, {"type": "server_error", "code": "server_is_overloaded"}),
        (503, {"type": "usage_limit_reached"}),
        (429, "usage_limit_reached"),
        (429, {"message": "usage_limit_reached"}),
        (429, None),
    ],
)
def test_throttling_and_overload_of_codex_are_no_used_up_window(status: int, error: Any) -> None:
    assert codex(error, status) is None


@pytest.mark.parametrize("body", [b"", b"usage_limit_reached", b"<html>", b"[]", b"\xff"])
def test_a_body_that_is_no_refusal_is_no_used_up_window(body: bytes) -> None:
    assert exhausted_window("codex", 429, [], body, "gpt-5.5", NOW) is None


def test_a_limit_without_a_time_is_a_guess() -> None:
    later = {"type": "usage_limit_reached", "resets_at": NOW + LONGEST_WINDOW_SECONDS * 2}
    for error in ({"type": "usage_limit_reached"}, later):
        found = codex(error)
        assert found == ExhaustedWindow(NOW + UNKNOWN_RESET_SECONDS, is_reset_known=False)


def test_workers_and_other_providers_have_no_such_refusal() -> None:
    body = b'{"error":{"type":"usage_limit_reached"}}'
    assert exhausted_window("sdk", 429, [], body, OPUS, NOW) is None
