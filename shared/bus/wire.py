"""The messages between the two ends of the bus, and the queue of commands on their way to Redis.

This module has no Redis client: a pipeline is a function that takes commands and returns their
answers.

Invariant: several servers may hold a copy of one request (a slow server, its successor, a caller
that withdraws the call). Only the first one to claim the entry gets it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from shared.bus.channels import Channel
from shared.runtime.errors import BusUnavailable, ClientError, TooLarge

ACCEPTED = b"accepted"  # data: the address of the server that has the call now
REPLY = b"reply"
END = b"end"
ERROR = b"error"  # data: CCProxyError.as_dict
CANCEL = b"cancel"  # data: the address of the caller; nobody waits for this call any more
# data: the address of the caller; it found no server in time, and may place the call again
GAVE_UP = b"gave up"
EXITED = b"exited"  # data: the address of a process known to be dead
WITH_ADDRESS = frozenset({ACCEPTED, CANCEL, GAVE_UP, EXITED})


WRITE_AT_ONCE = 500
RETRY_SECONDS = 0.02  # until whoever watches the connection has noticed too
LAST_BATCH_SECONDS = 1.0  # at the end of a process, for a batch that Redis has not answered yet

GROUP = "servers"
# Sorted set of the addresses of all processes that beat: a look through the heartbeats alone. A
# look through all keys (SCAN) would cost the more, the more sessions and transcripts are kept.
PROCESSES = "processes"
MEBIBYTE = 1024 * 1024
MAX_PAYLOAD = 48 * MEBIBYTE  # the largest body `max_body_bytes` lets in, and what we wrap around it
# entries; an inbox is read at once and trimmed every beat, so only a stuck owner's grows
INBOX_LENGTH = 20_000
# a claim's answer is read within milliseconds; this outlives a retry after a lost connection
HOLDER_TTL_MS = 60_000

# KEYS: channel stream, holder key [, caller's inbox]. ARGV: entry, group, who claims, TTL, inbox
# length [, fields]. Answers (who has the entry, the state of the claimant's delivery: see
# shared/bus/states.py). One step, so that a crash leaves no entry that is gone from the channel
# while its caller waits for an `accepted` that nobody will send. A claim may be repeated: its
# second run finds the entry gone and itself as the holder.
CLAIM = """
local state = 'accepted'
if redis.call('XDEL', KEYS[1], ARGV[1]) == 1 then
  redis.call('XACK', KEYS[1], ARGV[2], ARGV[1])
  redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
  if KEYS[3] then
    local added = redis.call(
      'XADD', KEYS[3], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[5], '*', unpack(ARGV, 6))
    if not added then state = 'abandoned' end
  end
end
local holder = redis.call('GET', KEYS[2])
if holder ~= ARGV[3] then state = 'taken' end
return {holder, state}
"""

# KEYS: lease. ARGV: whose it shall be, TTL (0: nobody's). Answers whether it was free, or theirs
# already.
LEASE = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
"""


class WireMessage(NamedTuple):
    """An entry of an inbox.

    `number` counts a server's messages for one call, from 0 (accepted). `attempt` differs between
    servers that had the same delivery one after the other.
    """

    kind: bytes
    call: bytes = b""
    attempt: bytes = b""
    number: int = 0
    data: bytes = b""

    def fields(self) -> tuple[bytes | int, ...]:
        return (
            b"k",
            self.kind,
            b"c",
            self.call,
            b"a",
            self.attempt,
            b"n",
            self.number,
            b"d",
            self.data,
        )

    @classmethod
    def read(cls, fields: Mapping[bytes, bytes]) -> WireMessage:
        """Return the message in the `fields` of a stream entry. A field unknown to an older version
        has the default. Raises ClientError for an entry that is no message.
        """
        kind, call, attempt, data = (fields.get(name, b"") for name in (b"k", b"c", b"a", b"d"))
        try:
            number = int(fields.get(b"n", 0))
            if kind in WITH_ADDRESS:
                data.decode()
        except ValueError as error:
            raise ClientError(f"inbox: {error}") from error
        return cls(kind, call, attempt, number, data)


class Post(Protocol):
    """Queue a command and return a future with Redis' answer. A `patient` command waits until Redis
    is back; any other command fails while Redis is away.
    """

    def __call__(self, *command: Any, patient: bool = False) -> asyncio.Future[Any]: ...


def inbox_key(address: str) -> str:
    return f"inbox:{address}"


def channel_key(channel: Channel) -> str:
    return f"channel:{channel.name}"


def check_size(data: bytes) -> bytes:
    if len(data) > MAX_PAYLOAD:
        raise TooLarge(f"{len(data)} bytes cannot travel between processes; {MAX_PAYLOAD} can.")
    return data


def write_inbox(post: Post, address: str, message: WireMessage) -> asyncio.Future[Any]:
    """Queue `message` for the inbox of `address`. The future's result is None if that inbox no
    longer exists, so the reader is gone.
    """
    key = inbox_key(address)
    return post(
        "XADD", key, "NOMKSTREAM", "MAXLEN", "~", INBOX_LENGTH, "*", *message.fields(), patient=True
    )


def claim(
    post: Post,
    channel: Channel,
    entry: bytes,
    me: str,
    *,
    tell: str = "",
    message: WireMessage | None = None,
) -> asyncio.Future[Any]:
    """Try to make `me` the only holder of `entry`, and send `message` to the caller at `tell` in
    the same step. The future's result is the holder's address and the state of the delivery.

    The claim may be repeated safely.
    """
    keys = [
        channel_key(channel),
        f"holder:{channel.name}:{entry.decode()}",
        *([inbox_key(tell)] if tell else []),
    ]
    fields = message.fields() if message else ()
    return post(
        "EVAL",
        CLAIM,
        len(keys),
        *keys,
        entry,
        GROUP,
        me,
        HOLDER_TTL_MS,
        INBOX_LENGTH,
        *fields,
        patient=True,
    )


def instance_of(address: str) -> str:
    """Return the instance in an address `service:instance:pid-nonce`."""
    return address.partition(":")[2].rpartition(":")[0]


@dataclass(slots=True)
class Write:
    command: tuple[Any, ...]
    patient: bool
    answer: asyncio.Future[Any]


class CommandQueue:
    """The queue of commands to Redis: all commands of a turn of the event loop leave in a single
    pipeline, in order.

    `execute` returns an answer or a BusUnavailable for each command, and raises BusUnavailable when
    the outcome is unknown. Patient commands are then written again once `up` is set, before all
    newer commands; the other commands fail.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[tuple[Any, ...]]], Awaitable[list[Any]]],
        up: asyncio.Event,
        *,
        last_batch_seconds: float = LAST_BATCH_SECONDS,
    ) -> None:
        self._execute = execute
        self._last_batch_seconds = last_batch_seconds
        self._up = up
        self._waiting: deque[Write] = deque()
        self._sent: list[Write] = []  # on their way to Redis, without an answer yet
        self._task: asyncio.Task[None] | None = None

    def post(self, *command: Any, patient: bool = False) -> asyncio.Future[Any]:
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(Write(tuple(map(writable, command)), patient, answer))
        # A new task starts only in the next turn of the event loop, so all commands posted in this
        # turn leave in one pipeline.
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())
        return answer

    async def written(self) -> None:
        """Return when no command is queued or being sent, including commands posted meanwhile."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])
            # Those who waited for an answer run first: they may post one more command.
            await asyncio.sleep(0)

    async def stop(self) -> None:
        """Stop writing, and end everyone who still waits for an answer.

        A batch that was sent gets a moment for its answers: without an answer its senders would
        take it for lost, and send it again.
        """
        if self._task is not None:
            if self._sent:
                await asyncio.wait({self._task}, timeout=self._last_batch_seconds)
            self._task.cancel()
            await asyncio.wait([self._task])
        for write in (*self._sent, *self._waiting):
            write.answer.cancel()
        self._sent = []
        self._waiting.clear()

    async def _write(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(WRITE_AT_ONCE, len(self._waiting)))]
            # A command whose sender was cancelled is left out. A patient command is a promise to
            # another process and goes out even if its sender is gone.
            batch = [write for write in batch if write.patient or not write.answer.done()]
            self._sent = batch
            try:
                answers = await self._execute([write.command for write in batch])
            except BusUnavailable as error:
                self._sent = []
                # The outcome is unknown: any part of the batch may have run. Only commands that may
                # run twice are posted as patient.
                self._keep_patient(batch, error)
                # The listener needs a moment to see the loss and to clear `up`; without the pause
                # this loop would spin on a dead connection.
                await asyncio.sleep(RETRY_SECONDS)
                await self._up.wait()
            else:
                self._sent = []
                for write, answer in zip(batch, answers, strict=True):
                    _settle(write.answer, answer)

    def _keep_patient(self, batch: list[Write], error: BusUnavailable) -> None:
        # The failed batch goes before the commands posted since: a message that overtook an earlier
        # one would look like a gap to its caller.
        waiting = [*batch, *self._waiting]
        self._waiting = deque()
        for write in waiting:
            if write.patient:
                self._waiting.append(write)
            else:
                _settle(write.answer, error)


def writable(argument: Any) -> Any:
    """Return an argument of a command as Redis' client can write it: a name that a client of ours
    has chosen may hold half of a surrogate pair, and one such command would fail its whole batch.
    """
    if isinstance(argument, str) and not argument.isascii():
        return argument.encode("utf-8", "surrogatepass")
    return argument


def _settle(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, BusUnavailable):
        future.set_exception(answer)
    else:
        future.set_result(answer)
