"""The rows of `ccproxy token limits`."""

from __future__ import annotations

import time
from typing import Any

from ccproxy.cli.token_use import limit_rows

NOON = time.mktime((2026, 11, 29, 12, 0, 0, 0, 0, -1))


def token(*limits: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return {"name": "chatbot", "at_once": None, "active": 0, "limits": list(limits)} | facts


def test_each_limit_has_a_row_and_the_first_shows_the_active_requests() -> None:
    limits = [
        {"limit": "$5.00/day", "provider": "", "used_percent": 41.7, "resets_at": NOON + 3600},
        {"limit": "20%/5h", "provider": "claude", "used_percent": 0, "resets_at": NOON + 60},
    ]
    assert list(limit_rows([token(*limits, at_once=2, active=1)], NOON)) == [
        ("chatbot", "$5.00/day", "", "42 %", "13:00", "1 of 2"),
        ("chatbot", "20%/5h", "claude", "0 %", "12:01", ""),
    ]


def test_a_token_that_is_limited_at_once_only_has_a_row_too() -> None:
    assert list(limit_rows([token(at_once=3)], NOON)) == [
        ("chatbot", "", "", "", "", "0 of 3"),
    ]
