"""Named sessions: a conversation its client continues by name, sending only what is new.

Claude Code writes the transcript of such a session to the owner's disk; Redis remembers which
transcript a name stands for, how many turns it has, and who keeps its process. The process is only
a cache: when another worker had a turn meanwhile, a turn broke off, or the process is gone, old or
large, the next turn resumes the transcript in a fresh one. Wherever the turns of a name run, one
runs at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Protocol

from sdk_worker.claude.driver import Conversation
from sdk_worker.claude.launch import Launch, adjust
from sdk_worker.claude.pool import Pool
from sdk_worker.frames import Splice
from sdk_worker.lease import hold_lease
from sdk_worker.transcripts import Transcripts
from sdk_worker.turn import Feed
from shared.bus.channels import KnownSession, Turn, decode_payload, encode_payload
from shared.runtime.errors import BusUnavailable, UpstreamError
from shared.runtime.log import get_log
from shared.settings.providers import CodeOptions

REMEMBERED_SECONDS = 30 * 86_400.0  # Claude Code keeps transcripts for 30 days
# A process grows with its conversation: 200 MiB at first, 280 after thirty turns.
LARGEST_BYTES = 1024**3
SPEAKING = frozenset({"stream_event", "assistant", "user", "result"})


class SessionStore(Protocol):
    """The verbs of the bus needed by the module."""

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes, *, ttl: float) -> None: ...

    async def lease(self, key: str, owner: str, *, ttl: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Kept:
    session: Conversation
    launch: Launch
    system: tuple[str, ...]
    turns: int
    expiry: asyncio.TimerHandle


class Sessions:
    """The idle processes of named conversations.

    At most `limit` processes are kept between turns, each for `idle` seconds. A turn waits
    `timeout` seconds for another turn of its conversation. `kept_by` is the worker's address for
    the next turn of a kept conversation. `transcripts` finds what a fresh process resumes; without
    it, the files of this machine.
    """

    def __init__(
        self,
        pool: Pool[Conversation],
        store: SessionStore,
        options: CodeOptions,
        *,
        limit: int,
        idle: float,
        timeout: float,
        kept_by: str,
        transcripts: Transcripts | None = None,
    ) -> None:
        self._pool = pool
        self._store = store
        self._options = options
        self._limit = limit
        self._idle = idle
        self._timeout = timeout
        self._kept_by = kept_by
        self._transcripts = transcripts or Transcripts()
        self._kept: dict[str, Kept] = {}  # the one unused for longest first

    @contextlib.asynccontextmanager
    async def hold(
        self, key: str, turn: Turn, feed: Feed, splice: Splice
    ) -> AsyncIterator[tuple[Conversation, Feed, float]]:
        """Yield a process in the conversation `key`, the part of `feed` new to the process, and the
        cost before this turn.

        One turn of a conversation runs at a time; the process stays after a turn that ended by
        itself. Raises Conflict.
        """
        async with hold_lease(self._store, f"turn:{key}", timeout=self._timeout):
            # Read under the lease: until its end the turn before may still change the stored value.
            known = await self._known(key)
            launch = replace(feed.launch, kept=True, told=self._transcripts.shared)
            feed = replace(feed, launch=launch)
            session, feed = await self._enter(key, known, feed)
            try:
                yield session, feed, known.cost_usd
                # Also under the lease: the next turn, on any worker, reads the value stored here.
                keep = await self._remember(key, known, session, splice, turn)
            except BaseException:
                # Also when the lease is lost, or the caller leaves, while Redis stores the turn.
                await self._end(session)
                await self._transcripts.save_broken_off(key, known, session.program)
                raise
            if keep:
                self._keep(key, session, feed, known.turns + 1)
            else:
                await self._end(session)

    def kept(self) -> int:
        """Return the number of processes waiting for the next turn of a conversation."""
        return len(self._kept)

    def forget_all(self) -> None:
        """End all idle processes."""
        for key in list(self._kept):
            self._drop(key)

    async def _known(self, key: str) -> KnownSession:
        stored = await self._store.get(key)
        return decode_payload(KnownSession, stored) if stored else KnownSession()

    async def _enter(self, key: str, known: KnownSession, feed: Feed) -> tuple[Conversation, Feed]:
        # Without a transcript the conversation begins anew. Else there are three ways into it, the
        # cheapest first: the process kept here, a fresh process that resumes the transcript, and a
        # fresh process that is fed the whole history.
        if not known.transcript:
            self._drop(key)  # a name that was forgotten elsewhere begins anew
            return await self._pool.take(feed.launch, feed.binding), feed
        news = feed.news()
        if kept := self._still_good(key, known, feed):
            try:
                await adjust(kept, feed.binding, self._options)
            except BaseException:
                # The process is no longer in `_kept`, and no caller knows it yet.
                await self._end(kept)
                raise
            return kept, news
        # A kept process that cannot go on must end first: until then it may write to the transcript
        # that the fresh process is about to read.
        if ending := self._drop(key):
            await asyncio.wait(ending)
        # The transcript may be gone; then the history that the client sent is all there is.
        if resumed := await self._transcripts.find(key, known):
            with contextlib.suppress(UpstreamError):
                launch = replace(feed.launch, resumed=resumed)
                return await self._pool.start(launch, feed.binding), news
        return await self._pool.take(feed.launch, feed.binding), feed

    def _still_good(self, key: str, known: KnownSession, feed: Feed) -> Conversation | None:
        kept = self._kept.get(key)
        # A different number of turns: another worker had a turn meanwhile. A launch or a system
        # prompt cannot be changed in a running process.
        if kept is None or (kept.turns, kept.launch, kept.system) != (
            known.turns,
            feed.launch,
            feed.binding.system,
        ):
            return None
        while line := kept.session.program.read_now():
            if line["type"] in SPEAKING:
                # The program spoke unasked: its next answer might belong to an older question.
                return None
        if not kept.session.alive:
            return None
        kept.expiry.cancel()
        return self._kept.pop(key).session

    async def _remember(
        self,
        key: str,
        known: KnownSession,
        session: Conversation,
        splice: Splice,
        turn: Turn,
    ) -> bool:
        """Store the turn in Redis. Return True if `session` may stay for the next turn."""
        # Only a turn with a summary has certainly ended: without one the program may still be at
        # work.
        keep = (
            bool(self._limit and splice.result)
            and session.program.resident_bytes() <= LARGEST_BYTES
        )
        saved = await self._transcripts.save(key, splice.transcript, session.program)
        if not saved and splice.transcript == known.transcript:
            saved = known.last_entry
        now = KnownSession(
            transcript=splice.transcript,
            turns=known.turns + 1,
            cost_usd=splice.result.get("total_cost_usd", known.cost_usd),
            name=turn.session_id or "",
            caller=turn.caller,
            working_directory=turn.working_directory,
            last_used=time.time(),
            kept_by=self._kept_by if keep else "",
            last_entry=saved,
        )
        try:
            # Stored before the process is kept: without the new number of turns the process would
            # never be found good again.
            await self._store.put(key, encode_payload(now), ttl=REMEMBERED_SECONDS)
        except BusUnavailable:
            get_log().warning("session_not_remembered", request_id=turn.request_id)
            return False
        return keep

    def _keep(self, key: str, session: Conversation, feed: Feed, turns: int) -> None:
        expiry = asyncio.get_running_loop().call_later(self._idle, self._drop, key)
        self._kept[key] = Kept(session, feed.launch, feed.binding.system, turns, expiry)
        while len(self._kept) > self._limit:
            self._drop(next(iter(self._kept)))

    async def _end(self, session: Conversation) -> None:
        """End `session` and wait for its end. The process may write to the transcript until then,
        so the caller holds the lease.
        """
        await asyncio.wait([self._pool.retire(session)])

    def _drop(self, key: str) -> list[asyncio.Task[None]]:
        """Evict the idle process for `key`; return its retire tasks."""
        if (kept := self._kept.pop(key, None)) is None:
            return []
        kept.expiry.cancel()
        return [self._pool.retire(kept.session)]
