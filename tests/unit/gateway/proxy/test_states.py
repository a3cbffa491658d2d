"""The table of an active request: one side is waited for, and a piece returns to where it was."""

from __future__ import annotations

import pytest

from gateway.proxy.states import ACTIVE_REQUEST, SENDING, ActiveState


@pytest.mark.parametrize("state", ["waiting", "starting", "streaming"])
def test_a_request_is_after_a_piece_where_it_was_before(state: ActiveState) -> None:
    sending = ACTIVE_REQUEST.advance(state, "send")
    assert sending in SENDING
    assert ACTIVE_REQUEST.advance(sending, "sent") == state


def test_a_request_can_end_in_every_state_but_the_last() -> None:
    for state in ACTIVE_REQUEST.states.keys() - {"done"}:
        assert ACTIVE_REQUEST.advance(state, "close") == "done"
    assert ACTIVE_REQUEST.last_states == {"done"}


def test_every_state_of_sending_follows_a_send() -> None:
    reached = {row["send"] for row in ACTIVE_REQUEST.steps.values() if "send" in row}
    assert reached == SENDING
