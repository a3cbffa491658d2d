"""The events of a session for clients: sent, listed and streamed."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

from gateway.managed.bodies import SessionBody
from gateway.managed.journal import SessionJournals, SessionName
from gateway.managed.listing import page_of_found
from gateway.managed.objects import ListedObject, read_cursor, write_cursor
from gateway.managed.runner import SessionRunner
from gateway.managed.sent_events import check_confirmations, check_results, read_events
from gateway.managed.sessions import ManagedSessions
from gateway.server.guard import Caller
from shared.formats.ir import Json
from shared.runtime.errors import Conflict
from shared.runtime.exact_json import dump_json

QUEUED = "9" * 15  # the place of what waits behind the log, in a cursor
PLACE = re.compile("[0-9]{1,20}(-[0-9]{1,20})?")  # of an event in the log


class SessionEvents:
    """The events of all sessions."""

    def __init__(
        self, sessions: ManagedSessions, journals: SessionJournals, runner: SessionRunner
    ) -> None:
        self._sessions = sessions
        self._journals = journals
        self._runner = runner

    async def begin(self, owner: str, body: SessionBody, first: Sequence[Json]) -> Json:
        """Create a session with the `first` events in the queue. Raises as ManagedSessions."""
        session = await self._sessions.create(owner, body, first)
        if first:
            self._runner.wake(SessionName(owner, session["id"]))
        return session

    async def send(self, name: SessionName, given: Sequence[Json], caller: Caller) -> Json:
        """Put events into the queue of a session, and return the events with ids. Raises
        ClientError, NotFound, Conflict for an archived session, NotAllowed.
        """
        session = await self._sessions.find(name)
        if session.about["archived_at"]:
            raise Conflict(f"The session {name.id!r} is archived.")
        events = read_events(list(given))
        state = await self._journals.look(name)
        check_confirmations(events, state, caller)
        answered = check_results(events, state)
        await self._journals.push(name, events, answered)
        self._runner.wake(name)
        return {"data": events}

    async def page(
        self,
        name: SessionName,
        *,
        limit: int,
        after: str | None,
        oldest_first: bool,
        wanted: Callable[[Json], bool],
    ) -> Json:
        """Return a page of the `wanted` events, processed and waiting; waiting events are the
        newest. Raises NotFound, ClientError.
        """
        await self._sessions.find(name)
        walk = self._walk(name, after, oldest_first=oldest_first)
        return await page_of_found(walk, limit, wanted)

    async def open_stream(
        self, name: SessionName, last_id: str | None
    ) -> AsyncGenerator[bytes, None]:
        """Return the frames of a session's events: the events behind the event of the frame
        `last_id`, or the events from now on. Raises NotFound.
        """
        await self._sessions.find(name)
        after = last_id if is_place(last_id) else await self._journals.last_place(name)
        return self._frames(name, after or "0-0")

    async def _frames(self, name: SessionName, after: str) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._journals.follow(name, after)) as entries:
            async for entry in entries:
                kind = entry.event["type"]
                yield b"event: %s\nid: %s\ndata: %s\n\n" % (
                    kind.encode(),
                    entry.place.encode(),
                    dump_json(entry.event),
                )
                if kind == "session.deleted":
                    return

    async def _walk(
        self, name: SessionName, after: str | None, *, oldest_first: bool
    ) -> AsyncIterator[ListedObject]:
        """Yield logged and waiting events behind a cursor."""
        place, waiting = read_cursor(after, PLACE) if after else ("", "")
        if oldest_first:
            if place != QUEUED:
                async for found in self._logged(name, place, oldest_first=True):
                    yield found
            async for found in self._waiting(name, waiting, oldest_first=True):
                yield found
            return
        if place in ("", QUEUED):
            async for found in self._waiting(name, waiting, oldest_first=False):
                yield found
            place = ""
        async for found in self._logged(name, place, oldest_first=False):
            yield found

    async def _logged(
        self, name: SessionName, place: str, *, oldest_first: bool
    ) -> AsyncIterator[ListedObject]:
        while entries := await self._journals.read(name, after=place, oldest_first=oldest_first):
            for entry in entries:
                place = entry.place
                yield ListedObject(entry.event, write_cursor(place, ""))

    async def _waiting(
        self, name: SessionName, last: str, *, oldest_first: bool
    ) -> AsyncIterator[ListedObject]:
        queue = [event for event, _ in (await self._journals.look(name)).queue]
        ids = [event["id"] for event in queue]
        if last in ids:
            queue = queue[ids.index(last) + 1 :] if oldest_first else queue[: ids.index(last)]
        for event in queue if oldest_first else queue[::-1]:
            yield ListedObject(event, write_cursor(QUEUED, event["id"]))


def is_place(text: str | None) -> bool:
    """Return True for the id of a frame of a session's stream."""
    return bool(text and PLACE.fullmatch(text))
