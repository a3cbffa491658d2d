from __future__ import annotations

import time

from ccproxy.cli.waiting import waiting_rows

NOON = time.mktime((2026, 11, 29, 12, 0, 0, 0, 0, -1))
HELD = {
    "since": NOON - 60,
    "caller": "night",
    "client_program": "claude-code",
    "model": "claude-opus-5",
    "provider": "claude",
    "priority": "ordinary",
    "waits_for": "reset",
    "limit": "the 5-hour window of claude",
    "until": NOON + 7500,
}


def test_a_held_request_shows_until_when_it_waits_and_for_which_limit() -> None:
    (row,) = waiting_rows([HELD], NOON)
    assert row == (
        "11:59",
        "night",
        "claude-opus-5",
        "14:05 for the 5-hour window of claude",
    )


def test_a_queued_request_shows_the_provider_whose_place_it_waits_for() -> None:
    queued = HELD | {"waits_for": "place", "until": None, "limit": "", "caller": ""}
    (row,) = waiting_rows([queued], NOON)
    assert (row[1], row[3]) == ("claude-code", "a place at claude")
