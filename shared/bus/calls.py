"""The calling end of the bus.

What a `Call` yields is a gapless beginning of what its server sent; then comes the end or an error,
never silence.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from json import JSONDecodeError
from typing import Any, Self

from shared.bus.channels import Channel
from shared.bus.states import CALL, CallEvent, CallState
from shared.bus.wire import (
    ACCEPTED,
    CANCEL,
    END,
    ERROR,
    GAVE_UP,
    REPLY,
    Post,
    WireMessage,
    channel_key,
    check_size,
    claim,
    instance_of,
    write_inbox,
)
from shared.runtime.errors import (
    BusUnavailable,
    Busy,
    CCProxyError,
    NoWorker,
    WorkerLost,
    error_from_dict,
)
from shared.runtime.exact_json import load_json

LAST_STATES = CALL.last_states  # made once: every message is compared with them
# what a slow reader may leave lying: one SSE event of the longest kind
UNREAD_BYTES = 16 * 1024 * 1024
MESSAGE_COST = 256  # bytes an unread message is charged beyond its data
GIVEN_UP_CALLS = 1000  # calls without a server whose late acceptance is still answered as such
RETRY_AFTER_SECONDS = (
    5  # told with a full line: it has moved on by then, and a client would else ask again at once
)


def _error_in(data: bytes) -> CCProxyError:
    """Return the error that a server sent; an internal error for data of any other form."""
    try:
        return error_from_dict(load_json(data))
    except JSONDecodeError:
        return error_from_dict({})


class Call:
    """A request and the replies: `async with bus.call(...) as replies: async for data in replies:
    ...`.

    Leaving the block early cancels the call on its server, also if no server has accepted it yet.
    Iterating raises WorkerLost, NoWorker, BusUnavailable, or the error with which the server ended
    the call.
    """

    def __init__(
        self,
        channel: Channel,
        request: bytes,
        *,
        request_id: str,
        number: bytes,
        place: Callable[[Call], Awaitable[None]],
        leave: Callable[[Call], None],
    ) -> None:
        self.channel = channel
        self.request = request
        self.request_id = request_id
        self.number = number
        self.entry = b""  # its place in the channel's stream, once it has one
        self.holder = ""  # address of the server that has it
        self.state: CallState = CALL.beginning
        self._place = place
        self._leave = leave
        self._taken = asyncio.Event()
        self._attempt = b""
        self._expected = 0
        self._added = 0  # replies, also of a server that lost the call: the next one begins anew
        self._unread: asyncio.Queue[bytes | CCProxyError | None] = asyncio.Queue()
        self._unread_bytes = 0
        self._read_out = False
        self._error: CCProxyError | None = None

    @property
    def over(self) -> bool:
        """Return True once no message counts any more; the replies may still be unread."""
        return self.state in LAST_STATES

    @property
    def worker(self) -> str:
        """Return the instance of the server with the call; an empty text before a server has
        accepted the call.
        """
        return instance_of(self.holder)

    async def accepted(self) -> str:
        """Wait until a server has accepted the call and return the server's instance.

        Raises the error that iterating would raise if no server accepts the call.
        """
        await self._taken.wait()
        if self._error is not None and not self.holder:
            raise self._error
        return self.worker

    async def __aenter__(self) -> Self:
        await self._place(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leave(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._read_out:
            raise StopAsyncIteration
        item = await self._unread.get()
        if isinstance(item, bytes):
            self._unread_bytes -= len(item) + MESSAGE_COST
            return item
        self._read_out = True
        if item is None:
            raise StopAsyncIteration
        raise item

    def receive(self, message: WireMessage) -> None:
        """Process `message`. Drop repeated messages, and messages of a server that lost the call.

        Raises BusUnavailable if an earlier message is missing or too many bytes are unread: the
        call cannot go on.
        """
        if self.over:
            return
        # `_attempt` and `_expected` name the server's run and its next message. The attempt stands
        # for the run, not the server's address, because one server may run the same delivery twice.
        if message.kind == ACCEPTED and message.attempt != self._attempt:
            self._advance("accepted")
            self._attempt = message.attempt
            self._expected = 1
            self.holder = message.data.decode()
            self._taken.set()
            return
        # A message of an earlier attempt, or one written twice after a lost connection.
        if message.attempt != self._attempt or message.number < self._expected:
            return
        # Redis keeps the order of one server's messages, so a gap means loss, never delay.
        if message.number > self._expected:
            raise BusUnavailable("Replies were lost on their way through Redis.")
        self._expected += 1
        # A server that took the call over begins again with its first reply. The reader has the
        # first `_added` replies already, from the server before.
        if message.kind == REPLY:
            self._advance("reply")
            if message.number > self._added:
                self._add(message.data)
                self._added = message.number
        elif message.kind == END:
            self._finish("end", None)
        elif message.kind == ERROR:
            self._finish("error", _error_in(message.data))

    def lose_holder(self) -> None:
        """Forget the server, which is gone; another server may take the call over."""
        self._advance("server lost")
        self.holder = ""
        self._taken.clear()

    def fail(self, error: CCProxyError) -> None:
        """End the call with `error`. The reader meets `error` after the replies received so far."""
        if not self.over:
            self._finish("fail", error)

    def leave(self) -> None:
        """Note that the call has no reader any more."""
        if not self.over:
            self._advance("leave")

    def _add(self, data: bytes) -> None:
        cost = len(data) + MESSAGE_COST
        # One message longer than the limit passes if nothing is unread before it: its size alone
        # says nothing about a slow reader.
        if self._unread_bytes and self._unread_bytes + cost > UNREAD_BYTES:
            raise BusUnavailable(f"The reader of this call is {UNREAD_BYTES} bytes behind.")
        self._unread_bytes += cost
        self._unread.put_nowait(data)

    def _advance(self, event: CallEvent) -> None:
        self.state = CALL.advance(self.state, event)

    def _finish(self, event: CallEvent, error: CCProxyError | None) -> None:
        self._advance(event)
        self._error = error
        # The end stands in the queue behind the replies, so the reader gets every reply first.
        self._unread.put_nowait(error)
        self._taken.set()


class Calls:
    """The open calls of a process. `address` is the address of the process; `ready` waits for Redis
    or raises.
    """

    def __init__(self, address: str, post: Post, ready: Callable[[], Awaitable[None]]) -> None:
        self._address = address
        self._post = post
        self._ready = ready
        self._numbers = itertools.count(1)
        self._open: dict[bytes, Call] = {}
        self._given_up: deque[bytes] = deque(maxlen=GIVEN_UP_CALLS)

    def new(self, channel: Channel, request: bytes, request_id: str | None) -> Call:
        number = str(next(self._numbers)).encode()
        request_id = request_id or secrets.token_hex(16)
        return Call(
            channel,
            request,
            request_id=request_id,
            number=number,
            place=self.place,
            leave=self.leave,
        )

    async def place(self, call: Call) -> None:
        """Write `call` to the call's channel.

        Raises BusUnavailable, TooLarge, Busy when `max_length` calls are waiting, or NoWorker when
        the only server of the channel is gone.
        """
        data = check_size(call.request)
        await self._ready()
        # The call is open before it is written: its server may answer before Redis' answer to the
        # XADD is read.
        self._open[call.number] = call
        key = channel_key(call.channel)
        fields = ("id", call.request_id, "inbox", self._address, "call", call.number, "data", data)
        # The channel of a single server ends with that server and must not be made again by a
        # caller: no process would ever read it.
        server = call.channel.server
        add = ("XADD", key, *(["NOMKSTREAM"] if server else []), "*", *fields)
        try:
            # Posted in one turn of the event loop, the three commands leave in one pipeline, in
            # this order, so the length includes this call.
            answers = await asyncio.gather(
                self._post(*add), self._post("XLEN", key), self._post("EXISTS", f"process:{server}")
            )
        except BaseException:
            # The XADD may have been written all the same. A server that accepts the call is then
            # told by `receive` that nobody waits.
            self._open.pop(call.number, None)
            call.leave()
            raise
        entry, waiting, there = answers
        call.entry = entry or b""
        # The channel may outlive its server by up to a lease, so the server's own key counts too.
        if server and not (entry and there):
            self.leave(call)
            raise NoWorker
        # The bus gave up while we waited. `fail` ran before the entry was known, so the withdrawal
        # is still to be done.
        if call.over:
            self._withdraw(call)
        elif waiting > call.channel.max_length:
            self.leave(call)
            raise Busy(headers={"retry-after": str(RETRY_AFTER_SECONDS)})

    def leave(self, call: Call) -> None:
        """Close `call` for its reader. Cancel an unfinished call on its server, or withdraw the
        call from the channel.
        """
        self._close(call)
        call.leave()

    def _close(self, call: Call) -> None:
        if self._open.pop(call.number, None) is None:
            return
        # A server that is known gets a cancel.
        if call.holder:
            self._cancel(call.holder, call.number)
        # The entry of a call that nobody accepted is still in the channel, and a `when_done` entry
        # stays there until it is acknowledged: a later server would run it for nobody.
        if call.entry and (not call.holder or call.channel.acknowledged == "when_done"):
            self._withdraw(call)

    def _withdraw(self, call: Call) -> None:
        # The caller competes for its own entry as a server does, so either the caller or one server
        # gets it. If a server was quicker, the answer names the server to cancel.
        withdrawal = claim(self._post, call.channel, call.entry, self._address)
        withdrawal.add_done_callback(lambda answer: self._withdrawn(call, answer))

    def _withdrawn(self, call: Call, answer: asyncio.Future[Any]) -> None:
        if answer.cancelled() or answer.exception() or call.holder:
            return
        holder = (answer.result()[0] or b"").decode()
        if holder and holder != self._address:
            self._cancel(holder, call.number)

    def _cancel(self, holder: str, number: bytes) -> None:
        kind = GAVE_UP if number in self._given_up else CANCEL
        answer = write_inbox(
            self._post, holder, WireMessage(kind, number, data=self._address.encode())
        )
        # a dead server needs no cancel
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())

    def fail(self, call: Call, error: CCProxyError) -> None:
        self._close(call)
        call.fail(error)

    def fail_all(self, error: CCProxyError) -> None:
        for call in list(self._open.values()):
            self.fail(call, error)

    def lose(self, server: str) -> None:
        """Handle the end of the server at address `server`: fail the server's calls, or leave the
        calls to the next server where the channel's terms allow a second run.
        """
        for call in [
            call for call in self._open.values() if server in {call.holder, call.channel.server}
        ]:
            if not call.holder:
                self.fail(call, NoWorker())
            elif call.channel.acknowledged == "on_accept":
                self.fail(call, WorkerLost())
            else:
                call.lose_holder()

    def refuse(self, channel: str) -> None:
        """Fail every call in wait for a server of `channel`, because no server is alive."""
        for call in [
            call for call in self._open.values() if call.channel.name == channel and not call.holder
        ]:
            # Noted before `fail`, which may send the cancel: a server that accepts later hears that
            # the caller may come again, not that the caller is gone.
            self._given_up.append(call.number)
            self.fail(
                call,
                NoWorker(f"No process serves {channel}; `ccproxy status` shows the missing one."),
            )

    def receive(self, message: WireMessage) -> None:
        call = self._open.get(message.call)
        if call is None:
            # The caller had left before it could know which server would take the call.
            if message.kind == ACCEPTED:
                self._cancel(message.data.decode(), message.call)
            return
        try:
            call.receive(message)
        except BusUnavailable as error:
            self.fail(call, error)
        if call.over:
            self._open.pop(call.number, None)

    def holders(self) -> set[str]:
        """Return the addresses of the servers with one of our calls, and of the only servers
        allowed to take a call.
        """
        return {
            server for call in self._open.values() if (server := call.holder or call.channel.server)
        }

    def waiting_for(self) -> set[str]:
        """Return the names of the channels with a call that any server may accept and none has."""
        return {
            call.channel.name
            for call in self._open.values()
            if not call.holder and not call.channel.server
        }
