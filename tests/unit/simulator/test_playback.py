"""Replies at their pace, and what is left of them when something goes wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from simulator.exchange import SimulatedExchange
from simulator.playback import DELTA, play_stream, play_whole
from simulator.script import ScriptedReply, Uneven

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/",
    "query_string": b"",
    "headers": [],
}
FRAMES = [
    b"event: start\n\n",
    *(b"event: x.delta\ndata: %d\n\n" % number for number in range(4)),
    b"event: end\n\n",
]


class Wire:
    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.exchange = SimulatedExchange(SCOPE, self.receive, self.send)

    async def receive(self) -> Any:
        raise AssertionError("nothing to hear")

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def data(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def closed(self) -> bool:
        return self.sent[-1].get("more_body") is False


@pytest.mark.parametrize(
    ("frame", "is_delta"),
    [
        (b"event: content_block_delta\ndata: {}\n\n", True),
        (b"event: response.output_text.delta\ndata: {}\n\n", True),
        (b"event: response.output_text.done\ndata: {}\n\n", False),
        (b"event: message_delta\ndata: {}\n\n", False),
    ],
)
def test_a_delta_is_told_by_its_name(frame: bytes, is_delta: bool) -> None:
    assert bool(DELTA.match(frame)) is is_delta


async def test_a_stream_without_a_fault_is_sent_at_once_and_closed() -> None:
    wire = Wire()
    assert await play_stream(wire.exchange, ScriptedReply([]), FRAMES, bytes)
    assert (wire.data, len(wire.sent), wire.closed) == (b"".join(FRAMES), 1, True)


async def test_a_pace_sends_delta_by_delta() -> None:
    wire = Wire()
    assert await play_stream(wire.exchange, ScriptedReply([], pace=0.0001), FRAMES, bytes)
    assert [message["body"] for message in wire.sent][:2] == FRAMES[:2]


@pytest.mark.parametrize(
    ("fault", "last", "closed"), [("error", b"broken", True), ("cut", FRAMES[2], False)]
)
async def test_a_fault_comes_after_its_deltas(fault: Any, last: bytes, closed: bool) -> None:
    wire = Wire()
    reply = ScriptedReply([], fault=fault, fault_after=2)
    assert not await play_stream(wire.exchange, reply, FRAMES, lambda: b"broken")
    assert (wire.data.endswith(last), wire.closed) == (True, closed)
    assert wire.data.count(b"delta") == 2


@pytest.mark.parametrize("whole", [True, False])
async def test_a_stall_stays(whole: bool) -> None:
    wire = Wire()
    reply = ScriptedReply([], fault="stall", fault_after=1)
    playing = (
        play_whole(wire.exchange, reply, b"abcd", {}, FRAMES)
        if whole
        else play_stream(wire.exchange, reply, FRAMES, bytes)
    )
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(playing, 0.01)
    assert wire.data == (b"ab" if whole else FRAMES[0] + FRAMES[1])


async def test_half_of_a_whole_reply_is_cut() -> None:
    wire = Wire()
    assert not await play_whole(wire.exchange, ScriptedReply([], fault="cut"), b"abcd", {}, FRAMES)
    assert (wire.data, wire.closed) == (b"ab", False)


UNEVEN = ScriptedReply([], uneven=Uneven(pause=0.0, piece=20))


@pytest.mark.parametrize("whole", [True, False])
async def test_an_uneven_reply_is_complete_and_leaves_in_pieces_of_many_sizes(whole: bool) -> None:
    wire = Wire()
    data = b"".join(FRAMES)
    assert await (
        play_whole(wire.exchange, UNEVEN, data, {}, FRAMES)
        if whole
        else play_stream(wire.exchange, UNEVEN, FRAMES, bytes)
    )
    assert (wire.data, wire.closed) == (data, True)
    sizes = {len(message["body"]) for message in wire.sent if message.get("body")}
    assert sizes >= {20, 1, 6, 14, 2}


async def test_a_malformed_event_has_half_of_its_json_and_the_stream_goes_on() -> None:
    wire = Wire()
    frames = [b'event: x.delta\ndata: {"a":%d}\n\n' % number for number in range(3)]
    reply = ScriptedReply([], fault="malformed", fault_after=1)
    assert await play_stream(wire.exchange, reply, frames, bytes)
    assert wire.data == frames[0] + b'event: x.delta\ndata: {"a\n\n' + frames[2]
    assert wire.closed


async def test_a_malformed_whole_reply_has_half_of_its_json_and_its_true_length() -> None:
    wire = Wire()
    reply = ScriptedReply([], fault="malformed")
    assert await play_whole(wire.exchange, reply, b'{"a":1}', {}, FRAMES)
    assert (wire.data, wire.closed) == (b'{"a', True)
    assert (b"content-length", b"3") in wire.sent[0]["headers"]
