"""Every spelling says the same to a parser of the standard."""

from __future__ import annotations

import json

import pytest

from shared.formats.sse import events_in
from simulator.spelling import SPELLINGS, respell, unnamed

FRAME = b'event: ping\ndata: {"type": "ping", "text": "a\\nb"}\n\n'


@pytest.mark.parametrize("number", range(len(SPELLINGS)))
def test_a_spelling_changes_no_event(number: int) -> None:
    (event,) = events_in(respell(FRAME, number))
    assert json.loads(event.data) == {"type": "ping", "text": "a\nb"}
    assert event.name == (None if SPELLINGS[number] is unnamed else "ping")


def test_numbers_beyond_the_last_begin_anew() -> None:
    assert respell(FRAME, len(SPELLINGS)) == respell(FRAME, 0)
