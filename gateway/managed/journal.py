"""The journal of a session in Redis: its state, the queue of what clients have sent, and the log of
what has happened.

The log is one Redis stream, from which any gateway lists and streams. One process at a time works
on a session, by a lease; every step of its work is one script that the lease guards, so a process
that lost its lease changes nothing more. What a client sends waits in the queue until that process
takes it, and becomes part of the log in the order in which it was processed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from gateway.managed.environments import FOLDER
from gateway.managed.objects import (
    SESSION_SECONDS,
    Collection,
    ManagedObjects,
    sizes_key,
    storage_full,
    value_key,
)
from gateway.managed.reports import idle_event_of, newest_first, session_report
from shared.bus.channels import encode_payload
from shared.bus.session_reports import REPORTS_KEY, SESSION_REPORTS
from shared.formats.ir import Json
from shared.runtime.errors import BusUnavailable, Busy, Conflict, NotFound, TooLarge
from shared.runtime.exact_json import dump_json, load_json

SESSIONS = Collection("session", "session", 1000, SESSION_SECONDS)
OWN = "ccproxy"  # the key of a stored session that clients do not see
WORKING = "managed:working"  # set of the sessions with work, for whoever finds one without a lease
LEASE_SECONDS = 10.0
ANYBODY = "*"  # the holder of a step that needs no lease
LOG_BYTES = 8 * 1024 * 1024  # of one session; then its oldest events are dropped
QUEUE_BYTES = 8 * 1024 * 1024
MOST_QUEUED = 200
DELETED_SECONDS = 60  # the last event of a deleted session is there for its streams
POLL_SECONDS = 0.1  # between two looks for events that another gateway has written
BATCH = 200
FOLLOWER_SECONDS = 15  # a follower counts as one for so long after it has last said so
FOLLOWER_BEAT_SECONDS = 5.0
WORDS_BATCH = 10  # events before an end, among which the agent's last words are looked for

# KEYS[1]: the session's value, [2]: queue, [3]: working, [4]: state, [5]: sizes. ARGV[1]: member of
# working, [2]: most queued, [3]: most bytes queued, [4]: limit of the owner's bytes, [5]: lifetime
# (ms), [6]: number of answers, then the ids of the calls that they answer, then events. Answers 1
# done, -1 no such session, -2 the queue is full, -3 the owner's bytes are used up, -4 a call does
# not wait, or has its answer in the queue already.
PUSH = """
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local bytes, first = 0, 7 + ARGV[6]
for place = first, #ARGV do bytes = bytes + #ARGV[place] end
if first > 7 then
  local waiting = redis.call('HGET', KEYS[4], 'waiting') or ''
  local queue = redis.call('LRANGE', KEYS[2], 0, -1)
  for place = 7, first - 1 do
    local id = '"' .. ARGV[place] .. '"'
    if not string.find(waiting, id .. ':', 1, true) then return -4 end
    for _, text in ipairs(queue) do
      if string.find(text, '"custom_tool_use_id":' .. id, 1, true) then return -4 end
    end
  end
end
if redis.call('LLEN', KEYS[2]) + #ARGV - first + 1 > tonumber(ARGV[2]) then return -2 end
local queued = tonumber(redis.call('HGET', KEYS[4], 'queued') or '0')
if queued + bytes > tonumber(ARGV[3]) then return -2 end
if tonumber(redis.call('HGET', KEYS[5], '') or '0') + bytes > tonumber(ARGV[4]) then return -3 end
for place = first, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[place]) end
redis.call('HINCRBY', KEYS[4], 'queued', bytes)
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[4]}) do redis.call('PEXPIRE', key, ARGV[5]) end
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
return 1
"""
# KEYS[1]: lease, [2]: state, [3]: queue, [4]: log, [5]: sizes, [6]: the session's value, [7]:
# followers, [8]: channel of the reports. ARGV[1]: holder of the lease, or '*'; [2]: lifetime (ms),
# [3]: limit of the log in bytes; [4]: id of this step, so that it may be sent again; then the
# numbers of taken, logged, set and added, then these:
# texts to take from the queue, events to log, and fields with values; then, for a step that is
# reported, the most reports of the channel, the report for programs and the one for people too.
# Answers 1, or 0 when the lease is another's or the session is gone.
COMMIT = """
if ARGV[1] ~= '*' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[6]) == 0 then return 0 end
if redis.call('HGET', KEYS[2], 'step') == ARGV[4] then return 1 end
redis.call('HSET', KEYS[2], 'step', ARGV[4])
local at = 8
for place = 1, ARGV[5] do
  at = at + 1
  if redis.call('LREM', KEYS[3], 1, ARGV[at]) == 1 then
    redis.call('HINCRBY', KEYS[2], 'queued', -#ARGV[at])
  end
end
local grown = 0
for place = 1, ARGV[6] do
  at = at + 1
  redis.call('XADD', KEYS[4], '*', 'e', ARGV[at])
  grown = grown + #ARGV[at]
end
for place = 1, ARGV[7] do
  redis.call('HSET', KEYS[2], ARGV[at + 1], ARGV[at + 2])
  at = at + 2
end
for place = 1, ARGV[8] do
  redis.call('HINCRBY', KEYS[2], ARGV[at + 1], ARGV[at + 2])
  at = at + 2
end
local bytes = redis.call('HINCRBY', KEYS[2], 'logged', grown)
while bytes > tonumber(ARGV[3]) do
  local oldest = redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', 1)[1]
  if not oldest then break end
  redis.call('XDEL', KEYS[4], oldest[1])
  bytes = redis.call('HINCRBY', KEYS[2], 'logged', -#oldest[2][2])
end
local known = tonumber(redis.call('HGET', KEYS[5], KEYS[4]) or '0')
redis.call('HSET', KEYS[5], KEYS[4], bytes)
redis.call('HINCRBY', KEYS[5], '', bytes - known)
for _, place in ipairs({2, 3, 4, 6}) do redis.call('PEXPIRE', KEYS[place], ARGV[2]) end
if ARGV[at + 1] then
  local now = redis.call('TIME')[1]
  local busy = redis.call('ZCOUNT', KEYS[7], now, '+inf') > 0 or redis.call('LLEN', KEYS[3]) > 0
  local report = ARGV[at + (busy and 2 or 3)]
  redis.call('XADD', KEYS[8], 'MAXLEN', '~', ARGV[at + 1], '*', 'data', report)
end
return 1
"""
# KEYS[1]: followers. ARGV[1]: a follower, [2]: seconds until it is no follower, unless it says so
# again; 0 when it leaves. The clock is that of Redis, one for all gateways.
FOLLOW = """
local now = redis.call('TIME')[1]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)
if ARGV[2] == '0' then return redis.call('ZREM', KEYS[1], ARGV[1]) end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
# KEYS[1]: lease, [2]: queue, [3]: working, [4]: state. ARGV[1]: holder, [2]: member of working,
# [3]: 1 to leave although there is more to do. Answers 0 when there is more to do.
RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 1 end
local turn = redis.call('HGET', KEYS[4], 'turn')
local empty = redis.call('LLEN', KEYS[2]) == 0 and (not turn or turn == '')
if not empty and ARGV[3] == '0' then return 0 end
redis.call('DEL', KEYS[1])
if empty then redis.call('SREM', KEYS[3], ARGV[2]) end
return 1
"""
# KEYS[1]: working. Answers the sessions with work that no process holds.
ABANDONED = """
local found = {}
for _, member in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local owner, id = string.match(member, '^(.*) ([^ ]+)$')
  local prefix = 'managed:' .. owner .. ':session:'
  if redis.call('EXISTS', prefix .. 'value:' .. id) == 0 then
    redis.call('SREM', KEYS[1], member)
  elseif redis.call('EXISTS', prefix .. 'lease:' .. id) == 0 then
    found[#found + 1] = member
  end
end
return found
"""
# KEYS[1]: state, [2]: queue. Answers the fields of the state and their values in turn, and the
# queue.
LOOK = "return {redis.call('HGETALL', KEYS[1]), redis.call('LRANGE', KEYS[2], 0, -1)}"
# KEYS[1]: log. ARGV[1]: 1 for the oldest first, [2]: the bound, exclusive, or '', [3]: most
# entries.
READ_LOG = """
if ARGV[1] == '1' then
  local from = ARGV[2] == '' and '-' or '(' .. ARGV[2]
  return redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[3])
end
local to = ARGV[2] == '' and '+' or '(' .. ARGV[2]
return redis.call('XREVRANGE', KEYS[1], to, '-', 'COUNT', ARGV[3])
"""
# KEYS[1]: log. ARGV[1]: lifetime (ms), [2]: the last event.
END_LOG = """
redis.call('DEL', KEYS[1])
redis.call('XADD', KEYS[1], '*', 'e', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""


class SessionName(NamedTuple):
    """The owner's name and the id of a session."""

    owner: str
    id: str

    def key(self, part: str) -> str:
        return f"managed:{self.owner}:session:{part}:{self.id}"

    @property
    def member(self) -> str:
        return f"{self.owner} {self.id}"

    @classmethod
    def of_member(cls, member: str) -> SessionName:
        owner, _, session_id = member.rpartition(" ")
        return cls(owner, session_id)


@dataclass(slots=True)
class SessionState:
    """The state of a session. `turn` describes the running turn; `waiting` has the awaited
    confirmations and results by event id; `step` is the id of the last step; `counts` are sums over
    all turns;
    `queue` holds the sent events with their texts as stored in Redis.
    """

    status: str = "idle"
    step: str = ""
    turn: Json | None = None
    waiting: dict[str, Json] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    queue: list[tuple[Json, bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An event and its place in the log."""

    place: str
    event: Json


class SessionJournals:
    """The journals of all sessions. A write of this process wakes the process' own readers at once;
    the writes of other gateways are found by looking.
    """

    def __init__(self, objects: ManagedObjects) -> None:
        self._objects = objects
        self._bus = objects.bus
        self._limit = objects.limit
        self._news: dict[SessionName, asyncio.Event] = {}
        self._readers: dict[SessionName, int] = {}

    async def look(self, name: SessionName) -> SessionState:
        """Return the state of a session; the state of a new session for a session without work so
        far.
        """
        fields, queue = await self._bus.run_script(LOOK, [name.key("state"), name.key("queue")])
        known = {fields[at].decode(): fields[at + 1] for at in range(0, len(fields), 2)}
        return SessionState(
            status=known.pop("status", b"idle").decode(),
            step=known.pop("step", b"").decode(),
            turn=load_json(known.pop("turn", b"") or b"null"),
            waiting=load_json(known.pop("waiting", b"") or b"{}"),
            counts={name: int(value) for name, value in known.items()},
            queue=[(load_json(text), text) for text in queue],
        )

    async def push(
        self, name: SessionName, events: Iterable[Json], answered: Sequence[str] = ()
    ) -> None:
        """Put events into the queue. `answered` names the calls of custom tools whose results are
        among the events, each of which still has to wait. Raises NotFound, Busy for a full queue,
        TooLarge, Conflict for a call answered by another client.
        """
        done = await self._bus.run_script(
            PUSH,
            [
                value_key(name.owner, SESSIONS, name.id),
                name.key("queue"),
                WORKING,
                name.key("state"),
                sizes_key(name.owner),
            ],
            name.member,
            MOST_QUEUED,
            QUEUE_BYTES,
            self._limit,
            SESSION_SECONDS * 1000,
            len(answered),
            *answered,
            *map(dump_json, events),
        )
        if done == -4:
            raise Conflict("Another client has answered a call of these results; nothing was kept.")
        if done == -1:
            raise NotFound(f"No session has the id {name.id!r}.")
        if done == -2:
            raise Busy("Too many events of this session wait for their turn; send them later.")
        if done == -3:
            raise TooLarge(storage_full(self._limit))

    async def commit(
        self,
        name: SessionName,
        holder: str,
        *,
        logged: Sequence[Json] = (),
        taken: Sequence[bytes] = (),
        state: Mapping[str, Any] | None = None,
        added: Mapping[str, int] | None = None,
    ) -> bool:
        """Do a step of the work on a session: take texts from the queue, log events, set fields of
        the state and add to the sums. Return False without any change if `holder` has lost the
        lease, or the session is gone; ANYBODY needs no lease. A step after which the session is
        idle writes a report too. Raises BusUnavailable when Redis stays away.
        """
        set_fields = [part for item in (state or {}).items() for part in state_field(*item)]
        sums = [part for item in (added or {}).items() if item[1] for part in item]
        step = partial(
            self._bus.run_script,
            COMMIT,
            [
                name.key("lease"),
                name.key("state"),
                name.key("queue"),
                name.key("log"),
                sizes_key(name.owner),
                value_key(name.owner, SESSIONS, name.id),
                name.key("followers"),
                REPORTS_KEY,
            ],
            holder,
            SESSION_SECONDS * 1000,
            LOG_BYTES,
            secrets.token_hex(8),
            len(taken),
            len(logged),
            len(set_fields) // 2,
            len(sums) // 2,
            *taken,
            *map(dump_json, logged),
            *set_fields,
            *sums,
        )

        async def run() -> Any:
            return await step(*await self._report(name, logged, (state or {}).get("waiting", {})))

        done = await self._insist(run, holder)
        if logged:
            self._wake(name)
        return bool(done)

    async def _report(
        self, name: SessionName, logged: Sequence[Json], waiting: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        """Return the last arguments of a step that logs events: those of its report, or none."""
        idle = idle_event_of(logged)
        stored = idle and await self._objects.find(name.owner, SESSIONS, name.id)
        if not idle or not stored:
            return ()
        before = await self.read(name, oldest_first=False, most=WORDS_BATCH)
        newest = newest_first(logged, [entry.event for entry in before])
        folder = stored.object[OWN][FOLDER]
        report = session_report(idle, stored.object, folder, name.owner, newest, waiting)
        for_programs = replace(report, is_for_person=False)
        return (
            SESSION_REPORTS.max_length,
            encode_payload(for_programs),
            encode_payload(report),
        )

    async def _insist(self, run: Callable[[], Awaitable[Any]], holder: str) -> Any:
        """Send a step until Redis has answered, as long as the lease may hold. Raises
        BusUnavailable.
        """
        late = time.monotonic() + (0 if holder == ANYBODY else LEASE_SECONDS)
        while True:
            try:
                return await run()
            except BusUnavailable:
                # Its id makes a step that had arrived harmless the second time.
                if time.monotonic() > late:
                    raise
                await asyncio.sleep(POLL_SECONDS)

    async def release(self, name: SessionName, holder: str, *, leave: bool = False) -> bool:
        """Give up the lease. Return False, and keep the lease, while the queue holds more and the
        holder does not `leave`.
        """
        return bool(
            await self._bus.run_script(
                RELEASE,
                [name.key("lease"), name.key("queue"), WORKING, name.key("state")],
                holder,
                name.member,
                int(leave),
            )
        )

    async def abandoned(self) -> list[SessionName]:
        """Return the sessions with work that no process holds."""
        found = await self._bus.run_script(ABANDONED, [WORKING])
        return [SessionName.of_member(member.decode()) for member in found]

    async def read(
        self, name: SessionName, *, after: str = "", oldest_first: bool = True, most: int = BATCH
    ) -> list[LogEntry]:
        """Return up to `most` entries of the log behind the place `after`."""
        rows = await self._bus.run_script(
            READ_LOG, [name.key("log")], int(oldest_first), after, most
        )
        return [LogEntry(place.decode(), load_json(fields[1])) for place, fields in rows]

    async def last_place(self, name: SessionName) -> str:
        """Return the place of the newest entry; the beginning for an empty log."""
        newest = await self.read(name, oldest_first=False, most=1)
        return newest[0].place if newest else "0-0"

    async def follow(self, name: SessionName, after: str) -> AsyncGenerator[LogEntry, None]:
        """Yield the entries behind the place `after`, and further entries on arrival, without an
        end. Whoever iterates counts as a follower of the session. Raises BusUnavailable.
        """
        self._readers[name] = self._readers.get(name, 0) + 1
        news = self._news.setdefault(name, asyncio.Event())
        follower = secrets.token_hex(8)
        beat = 0.0
        try:
            while True:
                if time.monotonic() >= beat:
                    await self._count_follower(name, follower, FOLLOWER_SECONDS)
                    beat = time.monotonic() + FOLLOWER_BEAT_SECONDS
                # Cleared before the look: an entry that comes later sets the event again.
                news.clear()
                entries = await self.read(name, after=after)
                for entry in entries:
                    after = entry.place
                    yield entry
                if not entries:
                    try:
                        async with asyncio.timeout(POLL_SECONDS):
                            await news.wait()
                    except TimeoutError:
                        continue
        finally:
            self._readers[name] -= 1
            if not self._readers[name]:
                del self._readers[name]
                self._news.pop(name, None)
            # Without Redis the follower is forgotten after its seconds.
            with contextlib.suppress(BusUnavailable):
                await self._count_follower(name, follower, 0)

    async def _count_follower(self, name: SessionName, follower: str, seconds: int) -> None:
        await self._bus.run_script(FOLLOW, [name.key("followers")], follower, seconds)

    async def end_log(self, name: SessionName, last: Json) -> None:
        """Leave only the event `last` of a deleted session, for the open streams."""
        await self._bus.run_script(
            END_LOG, [name.key("log")], DELETED_SECONDS * 1000, dump_json(last)
        )
        self._wake(name)

    def _wake(self, name: SessionName) -> None:
        if news := self._news.get(name):
            news.set()


def keys_of_session(name: SessionName) -> list[str]:
    """Return the keys that end with a session, beside the session's value."""
    return [name.key(part) for part in ("state", "queue", "log", "lease", "followers")]


def state_field(name: str, value: Any) -> tuple[str, str]:
    """Return a field of the state in the form of Redis: texts and numbers unchanged, the rest as
    JSON.
    """
    return name, value if isinstance(value, str) else json.dumps(value)
