"""The events of the permission service, or of a managed session, read from any gateway for as long
as wanted, and the answers sent back.

A gateway that restarts costs nothing: the stream goes on after the last event, an answer is given
again. The clock of the gateway is what counts, so its difference to ours is kept.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from ccproxy.cli.gateway import Unanswered, error_of_answer
from shared.formats.sse import LIMIT, Parser
from shared.runtime.errors import UpstreamError

PAUSES = (0.2, 5.0)  # first and longest between two attempts
ANSWER_SECONDS = 30.0  # how long an answer waits for a gateway or permission service that restarts
SILENCE_SECONDS = 90.0  # the gateway pings every 15
AGAIN = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """Something in the permission service, by the names of `GET /permissions/stream`, or an event
    of a managed session; or `connected` and `lost`, our own.
    """

    name: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The fate of an answer: if it counts, and a sentence of the permission service otherwise or
    about the remembered rule.
    """

    counts: bool
    words: str = ""


class EventFeed:
    """`client` has the gateway's address and the token. `path` is the address of the stream, and
    `after` the id of the event before the first one; unset, the stream says where it begins.
    """

    def __init__(
        self, client: httpx.AsyncClient, path: str = "/permissions/stream", after: str = ""
    ) -> None:
        self._client = client
        self._path = path
        self._last = after
        self._skew = 0.0  # the gateway's clock minus ours

    def now(self) -> float:
        """UTC seconds on the gateway's clock."""
        return time.time() + self._skew

    async def events(self) -> AsyncGenerator[FeedEvent, None]:
        """Never ends. Raises Unanswered when the gateway refuses us."""
        pause, longest = PAUSES
        while True:
            try:
                async with self._open() as response:
                    # A gateway that is just starting or ending answers with one of AGAIN, which is
                    # no refusal.
                    if response.status_code not in AGAIN:
                        await self._check(response)
                        pause = PAUSES[0]
                        yield FeedEvent("connected", {})
                        async for event in self._read(response):
                            yield event
                yield FeedEvent("lost", {"why": "the gateway ended the stream"})
            except httpx.HTTPError as error:
                yield FeedEvent("lost", {"why": str(error) or type(error).__name__})
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def answer(self, request_id: str, body: dict[str, Any]) -> Receipt:
        """Raises Unanswered when the answer is wrong in itself, or could not be given at all."""
        late = time.monotonic() + ANSWER_SECONDS
        pause, longest = PAUSES
        while True:
            try:
                response = await self._client.post(f"/permissions/{request_id}/respond", json=body)
            except httpx.HTTPError as error:
                why = str(error) or type(error).__name__
            else:
                if response.is_success:
                    return Receipt(True, response.json().get("remembered", ""))
                # The request has ended, perhaps by this very answer given a moment before, whose
                # reply was lost.
                if response.status_code in {404, 409}:
                    return Receipt(False, response.json()["error"]["message"])
                why = error_of_answer(response)
                if response.status_code not in AGAIN:
                    raise Unanswered(why)
            if time.monotonic() > late:
                raise Unanswered(f"The answer could not be given: {why}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def preview(self, request_id: str, scope: str) -> dict[str, Any] | None:
        """Return the past calls that a remembered answer would have allowed; None while they cannot
        be had.
        """
        body = {"remember": {"scope": scope}}
        return await self._asked("POST", f"/permissions/{request_id}/preview", json=body)

    async def presence(self) -> dict[str, Any] | None:
        """Return the owner's presence; None while it cannot be had."""
        return await self._asked("GET", "/permissions/away")

    async def profiles(self) -> dict[str, Any] | None:
        """Return the profiles; None while they cannot be had."""
        return await self._asked("GET", "/permissions/profiles")

    async def _asked(self, method: str, path: str, **options: Any) -> dict[str, Any] | None:
        """Return the answer; None for a refusal and for a gateway that cannot be asked."""
        try:
            response = await self._client.request(method, path, **options)
        except httpx.HTTPError:
            return None
        shown: dict[str, Any] | None = response.json() if response.is_success else None
        return shown

    async def switch_away(self, away: bool) -> None:
        """Say that the owner leaves or is back. The presence comes as an event. Raises
        Unanswered.
        """
        await self._post("/permissions/away", {"state": "on" if away else "off"})

    async def switch_profiles(self, active: list[str]) -> None:
        """Put other profiles in force. They come as an event. Raises Unanswered."""
        await self._post("/permissions/profiles", {"active": active})

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        try:
            response = await self._client.post(path, json=body)
        except httpx.HTTPError as error:
            raise Unanswered(str(error) or type(error).__name__) from error
        if not response.is_success:
            raise Unanswered(error_of_answer(response))

    def _open(self) -> Any:
        headers = {"last-event-id": self._last} if self._last else {}
        timeout = httpx.Timeout(10.0, read=SILENCE_SECONDS)
        return self._client.stream("GET", self._path, headers=headers, timeout=timeout)

    async def _check(self, response: httpx.Response) -> None:
        if response.is_error:
            await response.aread()
            raise Unanswered(error_of_answer(response))
        if date := response.headers.get("date"):
            self._skew = parsedate_to_datetime(date).timestamp() - time.time()
            # A Date has whole seconds, so a smaller difference is the same clock.
            if abs(self._skew) < 2:
                self._skew = 0.0

    async def _read(self, response: httpx.Response) -> AsyncGenerator[FeedEvent, None]:
        """Yield the events of the stream and keep the id of the last one. Raises Unanswered for an
        event beyond the parser's limit, which would come again after every reconnection.
        """
        parser = Parser()
        async for chunk in response.aiter_bytes():
            try:
                found = parser.feed(chunk)
            except UpstreamError as error:
                raise Unanswered(
                    f"The gateway sent an event of more than {LIMIT:,} bytes."
                ) from error
            for event in found:
                if event.id is not None:
                    # Kept before the event is passed on, so that a reconnection goes on after it.
                    self._last = event.id
                yield FeedEvent(event.name or "", json.loads(event.data))
