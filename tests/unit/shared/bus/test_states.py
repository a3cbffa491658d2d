"""The tables of the bus use the words of the wire and of the scripts in Redis."""

from __future__ import annotations

import re

from shared.bus.states import CALL, DELIVERY
from shared.bus.wire import ACCEPTED, CLAIM, END, ERROR, REPLY


def test_each_message_of_a_server_is_an_event_of_a_call() -> None:
    words = {kind.decode() for kind in (ACCEPTED, REPLY, END, ERROR)}
    assert words <= CALL.events.keys()


def test_redis_answers_a_claim_with_a_state_that_a_held_delivery_can_reach() -> None:
    answers = set(re.findall(r"state = '(\w+)'", CLAIM))
    assert answers == DELIVERY.steps["held"].keys() - {"settle"}
    assert {DELIVERY.advance("held", answer) for answer in answers} == answers  # type: ignore[arg-type]


def test_a_call_can_fail_in_every_state_before_a_last_one() -> None:
    for state in CALL.states.keys() - CALL.last_states:
        assert CALL.advance(state, "fail") == "failed"
        assert CALL.advance(state, "leave") == "left"
