"""One delivery against a session that says what the test lets it say."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque

import pytest

from sdk_worker.custom_tools import ResultDesk
from sdk_worker.reply import LeftReplies
from sdk_worker.sessions import Sessions
from sdk_worker.worker import TurnTimeouts, Worker, turn_cost
from shared.runtime.errors import (
    BusUnavailable,
    CallerGone,
    ClientError,
    NotAllowed,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from shared.settings.providers import CodeOptions
from tests.support.sdk_stack import Delivered, Shelf, body

START = {
    "type": "stream_event",
    "event": {"type": "message_start", "message": {"id": "m", "usage": {}}},
}
END = {
    "type": "stream_event",
    "event": {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
}
RESULT = {
    "type": "result",
    "subtype": "success",
    "num_turns": 1,
    "total_cost_usd": 0.25,
    "session_id": "t",
}


class Program:
    def __init__(self, lines, started_at):
        self.lines, self.asked, self.started_at = deque(lines), [], started_at

    async def read(self):
        if not self.lines:
            await asyncio.Event().wait()
        return self.read_now()

    def read_now(self):
        line = self.lines.popleft() if self.lines else None
        if isinstance(line, Exception):
            raise line
        return line

    async def has_line(self, *, within):
        if not self.lines:
            await asyncio.sleep(within)
        return bool(self.lines)

    async def control(self, subtype):
        self.asked.append(subtype)


class Conversation:
    def __init__(self, lines, started_at=math.inf):
        self.program, self.said, self.alive = Program(lines, started_at), [], True
        self.asks_person = False

    def say(self, line):
        self.said.append(line)

    def on_behalf(self, turn, note):
        return contextlib.nullcontext()


class House:
    """A worker whose every turn meets a session that says `lines`."""

    def __init__(self, *lines, tracer=None, sessions=None, **timeouts):
        self.session, self.retired, self.fault = Conversation(lines), [], None
        self.next_sessions, self.dropped = [], 0
        times = {"first_byte": 10.0, "idle": 10.0, "ping": 10.0} | timeouts
        sessions = sessions or Sessions(
            self, Shelf(), CodeOptions(), limit=1, idle=60, timeout=1, kept_by="w1"
        )
        told = {"name": "w1", "mode": "ignore", "pretty": False, "tracer": tracer}
        self.left = LeftReplies(Shelf(), "w1", seconds=60)
        desk = ResultDesk("w1", None)
        timeouts = TurnTimeouts(**times)
        self.worker = Worker(self, sessions, self.left, desk, timeouts=timeouts, **told)

    async def take(self, launch, binding):
        if self.fault:
            raise self.fault
        if self.next_sessions:
            self.session = self.next_sessions.pop(0)
        return self.session

    def drop_spares(self):
        self.dropped += 1

    def retire(self, session):
        self.retired.append(session)

    async def handle(self, delivered=None):
        delivered = delivered or Delivered(body=body("hi"))
        await self.worker.handle(delivered)
        return delivered


def kinds(delivered):
    return [event["type"] for event in delivered.events]


async def test_a_turn_has_a_head_its_frames_and_a_tail_and_its_process_is_done():
    house = House(START, END, RESULT)
    delivered = await house.handle()
    assert (delivered.head["worker"], delivered.tail["cost_usd"]) == ("w1", 0.25)
    assert kinds(delivered) == ["message_start", "message_delta", "message_stop"]
    assert house.retired == [house.session]
    assert house.session.program.asked == []


REFUSED = {
    "type": "result",
    "subtype": "success",
    "is_error": True,
    "api_error_status": 401,
    "result": "401 expired",
}


async def test_a_spare_whose_login_is_refused_is_replaced_by_a_fresh_process_once():
    house = House()
    house.next_sessions = [
        Conversation([REFUSED], started_at=0.0),
        Conversation([START, END, RESULT]),
    ]
    delivered = await house.handle()
    assert kinds(delivered) == ["message_start", "message_delta", "message_stop"]
    assert [reply.startswith(b'{"worker"') for reply in delivered.replies].count(True) == 1
    assert (house.dropped, len(house.retired)) == (1, 2)


@pytest.mark.parametrize("started_at", [0.0, math.inf])
async def test_a_login_that_a_fresh_process_is_refused_too_is_the_callers_error(started_at):
    house = House()
    house.next_sessions = [Conversation([REFUSED], started_at), Conversation([REFUSED])]
    with pytest.raises(UpstreamRefused) as refused:
        await house.handle()
    assert refused.value.status == 401
    assert house.dropped == (started_at == 0.0)


async def test_lines_that_came_together_leave_together():
    delivered = await House(START, END, RESULT).handle()
    assert len(delivered.replies) == 3


async def test_the_past_is_told_line_by_line_each_answered_before_the_next():
    told = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    house = House(RESULT, START, END, RESULT)
    await house.handle(Delivered(body=body(told)))
    assert [line["type"] for line in house.session.said] == ["user", "assistant", "user"]


async def test_an_error_before_the_first_frame_is_raised_and_after_it_is_a_frame():
    with pytest.raises(UpstreamError):
        await House(UpstreamError("gone")).handle()
    delivered = await House(START, UpstreamError("gone")).handle()
    assert kinds(delivered) == ["message_start", "error"]


async def test_what_was_said_before_a_fault_is_heard_before_the_error():
    delivered = await House(START, UpstreamError("gone")).handle()
    assert delivered.replies[1].startswith(b"event: message_start")


async def test_an_unreadable_turn_takes_no_process():
    house = House()
    with pytest.raises(ClientError, match="messages"):
        await house.handle(Delivered(body={"messages": []}))
    assert house.retired == []


async def test_a_process_that_says_nothing_is_given_up_in_time():
    house = House(first_byte=0.01)
    with pytest.raises(UpstreamTimeout):
        await house.handle()
    assert house.session.program.asked == ["interrupt"]
    assert house.retired == [house.session]


async def test_a_silence_in_the_middle_is_bridged_by_pings_until_it_is_too_long():
    delivered = await House(START, ping=0.01, idle=0.03).handle()
    assert kinds(delivered) == ["message_start", "ping", "ping", "error"]


async def test_a_limit_shorter_than_the_pings_is_kept():
    delivered = await asyncio.wait_for(House(START, ping=600.0, idle=0.03).handle(), 5)
    assert kinds(delivered) == ["message_start", "error"]
    assert "silent for 0.03 seconds" in delivered.events[-1]["error"]["message"]


async def test_an_open_permission_request_is_waited_for_as_long_as_a_person_has():
    house = House(START, ping=0.01, idle=0.02, asking=0.06)
    house.session.asks_person = True
    delivered = await house.handle()
    assert kinds(delivered) == ["message_start", *["ping"] * 5, "error"]
    assert "permission request" in delivered.events[-1]["error"]["message"]


async def test_a_person_may_think_for_ever_but_a_silence_after_the_decision_ends():
    house = House(START, ping=0.01, idle=0.03, asking=None)
    house.session.asks_person = True
    delivered = Delivered(body=body("hi"))
    work = asyncio.create_task(house.handle(delivered))
    async with asyncio.timeout(5):
        while kinds(delivered).count("ping") < 20:  # noqa: ASYNC110 - the pings are what is waited for
            await asyncio.sleep(0.01)
        assert not work.done()
        house.session.asks_person = False
        await work
    assert kinds(delivered)[-1] == "error"


async def test_a_caller_who_left_is_not_worked_for_any_longer():
    house, delivered = House(START), Delivered(body=body("hi"))
    delivered.caller_gone.set()
    with pytest.raises(CallerGone):
        await house.handle(delivered)
    assert house.retired == [house.session]


async def cut_off(house, delivered):
    """Its gateway dies when it has heard the first word."""
    work = asyncio.create_task(house.handle(delivered))
    await delivered.until(b"message_start")
    delivered.caller_lost = True
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def test_a_caller_who_was_cut_off_and_asks_again_gets_the_whole_answer_of_the_one_turn():
    house = House(START, ping=0.01)
    await cut_off(house, Delivered(body=body("hi"), repeat="same"))
    house.session.program.lines.extend([END, RESULT])
    delivered = await house.handle(Delivered(body=body("hi"), repeat="same"))
    assert [kind for kind in kinds(delivered) if kind != "ping"] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
    assert (delivered.head["worker"], delivered.tail["cost_usd"]) == ("w1", 0.25)
    assert len(house.session.said) == len(house.retired) == 1


async def test_who_asks_something_else_gets_a_turn_of_its_own():
    house = House(START, ping=0.01)
    await cut_off(house, Delivered(body=body("hi"), repeat="same"))
    first, house.session = house.session, Conversation([START, END, RESULT])
    await house.handle(Delivered(body=body("hi"), repeat="other"))
    assert (len(first.said), len(house.session.said)) == (1, 1)
    await house.left.end()
    assert first.program.asked == ["interrupt"]


async def test_a_turn_that_is_cancelled_is_interrupted_and_its_process_retired():
    house, delivered = House(START), Delivered(body=body("hi"))
    work = asyncio.create_task(house.handle(delivered))
    await delivered.until(b"message_start")
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert house.session.program.asked == ["interrupt"]
    assert house.retired == [house.session]


async def test_without_a_process_the_turn_fails_with_the_reason():
    house = House()
    house.fault = BusUnavailable()
    with pytest.raises(BusUnavailable):
        await house.handle()


async def test_a_directory_outside_of_the_roots_takes_no_process(tmp_path):
    house = House()
    with pytest.raises(NotAllowed):
        await house.handle(Delivered(body=body("hi"), working_directory=str(tmp_path)))
    assert house.retired == []


async def test_a_conversation_with_the_clients_own_tools_is_not_continued_by_name_and_says_so():
    tool = {"name": "look", "input_schema": {"type": "object"}}
    house = House(START, END, RESULT)
    delivered = await house.handle(Delivered(body=body("hi", tools=[tool]), session_id="talk"))
    assert (delivered.head["session_id"], delivered.head["ignored"]) == ("", ["session_id"])
    assert house.retired == [house.session]


async def test_a_turn_chooses_how_the_agents_tools_are_shown():
    shown = Delivered(body=body("hi"), message_mode="forward")
    await House(START, END, RESULT).handle(shown)
    assert [
        event["content_block"]["type"]
        for event in shown.events
        if event["type"] == "content_block_start"
    ] == ["result_message"]


class LostLease:
    """Sessions whose lease is lost after the turn, before the turn is remembered."""

    def __init__(self, session):
        self.session = session

    @contextlib.asynccontextmanager
    async def hold(self, key, turn, feed, splice):
        yield self.session, feed, 0.05
        raise BusUnavailable("gone on elsewhere")


async def test_a_whole_answer_whose_session_cannot_be_remembered_ends_with_its_tail(caplog):
    house = House(sessions=LostLease(Conversation([START, END, RESULT])))
    delivered = await house.handle(Delivered(body=body("hi"), session_id="talk"))
    assert kinds(delivered) == ["message_start", "message_delta", "message_stop"]
    assert delivered.tail["cost_usd"] == pytest.approx(0.2)
    assert [record.getMessage() for record in caplog.records] == ["session_not_remembered"]


SINCE = {"sonnet": {"costUSD": 0.25}, "haiku": {"costUSD": 0.5}}


@pytest.mark.parametrize(
    ("result", "spent", "cost"),
    [
        ({}, 0.5, None),
        ({"total_cost_usd": 0.75}, 0.5, 0.25),
        ({"total_cost_usd": 0.25}, 0.5, 0.25),
        ({"total_cost_usd": 2.0, "model_usage_since_last_result": SINCE}, 1.75, 0.75),
    ],
    ids=["no summary", "a total that goes on", "a total that began elsewhere", "told apart"],
)
def test_a_turn_costs_what_the_program_counted_for_it_wherever_its_total_began(result, spent, cost):
    assert turn_cost(result, spent) == cost
