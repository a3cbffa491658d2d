"""Whole and streamed say the same, and whatever a reader says leaves WellFormed in order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.formats.fold import CUT, Fold, Sequencer, WellFormed, fold, has_expected_types, unfold
from shared.formats.ir import (
    Citation,
    Cite,
    Close,
    Delta,
    Event,
    Fail,
    Json,
    Opaque,
    Open,
    Ping,
    Reply,
    Seal,
    Start,
    Stop,
    Text,
    Thinking,
    ToolCall,
)
from tests.support.replies import keeps_grammar, replies, streams

ANY_REPLY = st.sampled_from(["anthropic", "openai"]).flatmap(replies)
ANY_EVENT = st.sampled_from(
    [
        Start("a"),
        Open(Text("")),
        Open(Thinking()),
        Open(ToolCall("1", "f")),
        Open(Opaque("openai", {})),
        Delta("x"),
        Delta(""),
        Cite(Citation()),
        Seal("s", "openai"),
        Close(),
        Ping(),
        Stop(),
        Fail("broken"),
    ]
)


class Saying:
    """A reader that says what it is told to, one list per payload."""

    def feed(self, data: Json) -> Sequence[Event]:
        events: list[Event] = data["events"]
        return events

    def end(self) -> Sequence[Event]:
        return []


def repaired(*payloads: list[Event]) -> list[Event]:
    reader = WellFormed(Saying())
    return [event for events in payloads for event in reader.feed({"events": events})] + [
        *reader.end()
    ]


@given(ANY_REPLY)
def test_folding_what_was_unfolded_gives_the_reply_back(reply: Reply) -> None:
    assert fold(unfold(reply)) == reply


@given(ANY_REPLY.flatmap(lambda reply: st.tuples(st.just(reply), streams(reply))))
def test_however_a_reply_is_cut_into_deltas_it_folds_the_same(
    both: tuple[Reply, list[Event]],
) -> None:
    reply, events = both
    assert fold(events) == reply
    assert keeps_grammar(events)
    assert repaired(events) == events, "what is in order already passes untouched"


@given(st.lists(st.lists(ANY_EVENT, max_size=4), max_size=12))
def test_any_events_at_all_leave_in_order(payloads: list[list[Event]]) -> None:
    assert keeps_grammar(repaired(*payloads))


@given(st.lists(ANY_EVENT, max_size=20))
def test_no_text_is_lost_before_the_end(events: list[Event]) -> None:
    said = [event.text for event in events if isinstance(event, Delta)]
    kept = [event.text for event in repaired(events, [Stop()]) if isinstance(event, Delta)]
    ends = any(isinstance(event, (Stop, Fail)) for event in events)
    if not ends and all(map(has_expected_types, events)):
        assert "".join(kept) == "".join(said)


def test_a_stream_that_just_stops_is_a_failure_and_open_blocks_are_closed_first() -> None:
    events = repaired([Start(), Open(Text("")), Delta("half")])
    assert events == [Start(), Open(Text("")), Delta("half"), Close(), CUT]
    assert repaired() == [Start(), CUT]
    assert fold(events) == CUT


def test_a_payload_that_is_not_what_it_says_is_a_failure_and_not_a_crash() -> None:
    class Trusting(Saying):
        def feed(self, data: Json) -> Sequence[Event]:
            return (Delta(data["delta"]["text"]),)

    reader = WellFormed(Trusting())
    assert list(reader.feed({"delta": {"text": "x"}})) == [Start(), Open(Text("")), Delta("x")]
    close, fail = reader.feed({"delta": None})
    assert close == Close()
    assert isinstance(fail, Fail)
    assert (fail.status, fail.code) == (502, "bad_stream")


def test_nothing_follows_the_first_terminal_event() -> None:
    assert repaired([Start(), Stop(), Fail("late"), Stop()], [Delta("x")]) == [Start(), Stop()]


def test_a_delta_outside_any_block_opens_a_text() -> None:
    assert repaired([Delta("x"), Stop()]) == [Start(), Open(Text("")), Delta("x"), Close(), Stop()]


def test_overlapping_blocks_come_one_after_another_and_the_first_flows() -> None:
    line = Sequencer()
    first, second, third = Open(Text("")), Open(ToolCall("2", "f")), Open(ToolCall("3", "f"))
    assert list(line.open(0, first)) == [first]
    assert list(line.open(1, second)) == []
    assert list(line.add(0, Delta("a"))) == [Delta("a")]
    assert list(line.add(1, Delta("b"))) == []
    assert list(line.open(2, third)) == []
    assert list(line.close(1)) == []
    assert list(line.close(0)) == [Close(), second, Delta("b"), Close(), third]
    assert list(line.add(2, Delta("c"))) == [Delta("c")]
    assert list(line.add(9, Delta("lost"))) == []
    assert list(line.drain()) == [Close()]
    assert list(line.drain()) == []


def test_draining_closes_the_open_block_and_tells_the_waiting_ones() -> None:
    line = Sequencer()
    line.open("a", Open(Text("")))
    line.open("b", Open(Thinking()))
    line.add("b", Delta("x"))
    assert list(line.drain()) == [Close(), Open(Thinking()), Delta("x"), Close()]


def test_folding_events_out_of_order_is_an_error_of_the_program() -> None:
    with pytest.raises(ValueError, match="nobody opened"):
        Fold().feed(Close())
