"""A call puts what arrives in order, and tells its server when nobody listens any more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.bus.calls import MESSAGE_COST, UNREAD_BYTES, Call, Calls
from shared.bus.channels import Channel, encode_payload
from shared.bus.wire import ACCEPTED, CANCEL, END, ERROR, GAVE_UP, REPLY, WireMessage
from shared.runtime.errors import BusUnavailable, CCProxyError, NotFound, NoWorker, WorkerLost

TURNS = Channel("turns", "on_accept")
ASKS = Channel("asks", "when_done")
ME, SERVER, OTHER = "gateway:g:1-a", "worker:w0:2-b", "worker:w1:3-c"


class Redis:
    """Answers as Redis would, for one server that has claimed `holder`'s calls; keeps the cancels
    sent.
    """

    def __init__(self) -> None:
        self.holder: str | None = None
        self.cancelled: list[tuple[str, bytes]] = []
        self.given_up: list[tuple[str, bytes]] = []
        self.withdrawn: list[bytes] = []

    def post(self, *command: Any, patient: bool = False) -> asyncio.Future[Any]:
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(self._answer(command))
        return answer

    def _answer(self, command: tuple[Any, ...]) -> Any:
        if command[0] == "EVAL":
            if self.holder is None:
                self.withdrawn.append(command[5])
            return [(self.holder or ME).encode(), b"taken" if self.holder else b"accepted"]
        if command[0] == "XADD" and "NOMKSTREAM" in command:
            fields = dict(zip(command[7::2], command[8::2], strict=True))
            told = {CANCEL: self.cancelled, GAVE_UP: self.given_up}[fields[b"k"]]
            told.append((command[1].removeprefix("inbox:"), fields[b"c"]))
        return {"XADD": b"1-1", "XLEN": 1}.get(command[0])


class Line:
    """One call in the middle of things."""

    def __init__(self) -> None:
        self.redis = Redis()
        self.calls = Calls(ME, self.redis.post, self._ready)

    async def _ready(self) -> None:
        pass

    async def call(self, channel: Channel = TURNS) -> Call:
        return await self.calls.new(channel, b"{}", None).__aenter__()

    def arrive(
        self,
        kind: bytes,
        number: int,
        data: bytes = b"",
        *,
        attempt: bytes = b"x",
        call: bytes = b"1",
    ) -> None:
        self.calls.receive(WireMessage(kind, call, attempt, number, data))


@pytest.fixture
def line() -> Line:
    return Line()


async def rest(call: Call) -> list[bytes]:
    return [data async for data in call]


async def test_who_takes_a_call_over_repeats_nothing_that_was_given(line: Line):
    call = await line.call(ASKS)
    line.arrive(ACCEPTED, 0, SERVER.encode())
    line.arrive(REPLY, 1, b"a")
    line.calls.lose(SERVER)
    line.arrive(ACCEPTED, 0, OTHER.encode(), attempt=b"y")
    for number, data in [(1, b"a"), (2, b"b")]:
        line.arrive(REPLY, number, data, attempt=b"y")
    line.arrive(END, 3, attempt=b"y")
    assert await rest(call) == [b"a", b"b"]


async def test_replies_come_in_order_and_repeats_are_dropped(line: Line):
    call = await line.call()
    line.arrive(ACCEPTED, 0, SERVER.encode())
    for number, data in [(1, b"a"), (1, b"a"), (2, b"b"), (1, b"a"), (3, b"c")]:
        line.arrive(REPLY, number, data)
    line.arrive(ACCEPTED, 0, SERVER.encode())
    line.arrive(END, 4)
    assert (call.worker, await rest(call)) == ("w0", [b"a", b"b", b"c"])


async def test_a_gap_fails_the_call_after_what_came_before_and_stops_the_server(line: Line):
    call = await line.call()
    line.arrive(ACCEPTED, 0, SERVER.encode())
    line.arrive(REPLY, 1, b"a")
    line.arrive(REPLY, 3, b"c")
    line.arrive(END, 4)
    assert await anext(call) == b"a"
    with pytest.raises(BusUnavailable, match="lost"):
        await anext(call)
    assert line.redis.cancelled == [(SERVER, b"1")]


async def test_an_error_is_rebuilt(line: Line):
    call = await line.call()
    line.arrive(ACCEPTED, 0, SERVER.encode())
    line.arrive(ERROR, 1, encode_payload(NotFound("no such prompt").as_dict()))
    with pytest.raises(NotFound, match="no such prompt"):
        await anext(call)
    assert await rest(call) == []


@pytest.mark.parametrize("data", [b"", b"[]", b'{"error":{}}', b'{"message":"\\ud83d"}'])
async def test_an_error_of_another_form_ends_the_call_with_an_error(line: Line, data: bytes):
    call = await line.call()
    line.arrive(ACCEPTED, 0, SERVER.encode())
    line.arrive(ERROR, 1, data)
    with pytest.raises(CCProxyError):
        await anext(call)


async def test_the_next_server_starts_counting_anew_and_the_lost_one_is_not_heard(line: Line):
    call = await line.call(ASKS)
    line.arrive(ACCEPTED, 0, SERVER.encode(), attempt=b"first")
    line.calls.lose(SERVER)
    assert call.worker == ""
    line.arrive(ACCEPTED, 0, OTHER.encode(), attempt=b"second")
    line.arrive(REPLY, 1, b"from the grave", attempt=b"first")
    line.arrive(REPLY, 1, b"yes", attempt=b"second")
    line.arrive(END, 2, attempt=b"second")
    assert (await call.accepted(), await rest(call)) == ("w1", [b"yes"])


async def test_a_lost_server_fails_what_must_not_run_twice(line: Line):
    call = await line.call()
    line.arrive(ACCEPTED, 0, SERVER.encode())
    line.calls.lose(OTHER)
    assert not call.over
    line.calls.lose(SERVER)
    with pytest.raises(WorkerLost):
        await anext(call)


async def test_unread_replies_are_bounded_by_bytes_and_one_of_any_size_passes(line: Line):
    call = await line.call()
    line.arrive(ACCEPTED, 0, SERVER.encode())
    line.arrive(REPLY, 1, bytes(UNREAD_BYTES + 1))
    assert len(await anext(call)) == UNREAD_BYTES + 1
    line.arrive(REPLY, 2, bytes(UNREAD_BYTES - 2 * MESSAGE_COST))
    line.arrive(REPLY, 3, b"")
    assert not call.over
    line.arrive(REPLY, 4, b"x")
    assert call.over


async def test_leaving_cancels_at_the_server_that_accepted(line: Line):
    call = await line.call()
    line.arrive(ACCEPTED, 0, SERVER.encode())
    await call.__aexit__()
    assert (line.redis.cancelled, line.redis.withdrawn) == ([(SERVER, b"1")], [])


async def test_leaving_before_anyone_took_it_withdraws_it(line: Line):
    call = await line.call()
    await call.__aexit__()
    await asyncio.sleep(0)
    assert (line.redis.cancelled, line.redis.withdrawn) == ([], [b"1-1"])


async def test_leaving_while_it_is_being_accepted_cancels_at_whoever_won(line: Line):
    call = await line.call()
    line.redis.holder = SERVER
    await call.__aexit__()
    await asyncio.sleep(0)
    assert line.redis.cancelled == [(SERVER, b"1")]


async def test_a_server_that_accepts_a_call_nobody_remembers_is_told(line: Line):
    line.arrive(ACCEPTED, 0, SERVER.encode(), call=b"99")
    line.arrive(REPLY, 1, b"a", call=b"99")
    assert line.redis.cancelled == [(SERVER, b"99")]


async def test_a_server_that_accepts_a_call_too_late_hears_that_the_caller_may_come_back(
    line: Line,
):
    call = await line.call(ASKS)
    line.calls.refuse(ASKS.name)
    with pytest.raises(NoWorker):
        await anext(aiter(call))
    line.arrive(ACCEPTED, 0, SERVER.encode())
    assert line.redis.given_up == [(SERVER, b"1")]
    assert line.redis.cancelled == []


async def test_leaving_a_call_that_is_over_says_nothing(line: Line):
    call = await line.call()
    line.arrive(ACCEPTED, 0, SERVER.encode())
    line.arrive(END, 1)
    await call.__aexit__()
    assert (line.redis.cancelled, line.redis.withdrawn) == ([], [])
