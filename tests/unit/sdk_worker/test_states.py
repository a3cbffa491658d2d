"""An error of a turn becomes a status, the last event, or nothing, by what the client has seen."""

from __future__ import annotations

from sdk_worker.states import ATTEMPT


def test_an_error_is_a_refusal_before_the_first_frame_and_an_event_after_it() -> None:
    ends = {state: row["error"] for state, row in ATTEMPT.steps.items() if "error" in row}
    assert ends == {"queued": "refused", "placed": "refused", "begun": "broken off"}


def test_a_whole_answer_ends_with_its_tail_whatever_happens() -> None:
    assert ATTEMPT.steps["whole"] == {"tail": "ended"}
