"""Answers over the bus: a question names a prepared query and gives parameters, never SQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from analytics.consumer import Progress
from analytics.questions import (
    Analytics,
    Answer,
    Entries,
    Parameters,
    read,
    shape_analytics,
    shape_entries,
    split_replies,
)
from analytics.store import Store
from shared.bus import Delivery
from shared.channels import LogsQuery, decode
from shared.errors import ClientError, NotFound

QUERY_SECONDS = 30.0


class QueryServer:
    """Reads the store beside the one writer."""

    def __init__(self, store: Store, progress: Progress) -> None:
        self._store = store
        self._progress = progress
        self._queries: dict[str, Callable[[Parameters], Awaitable[Answer]]] = {
            "entries": self._entries,
            "analytics": self._analytics,
            "status": self._status,
        }

    async def answer(self, delivery: Delivery) -> None:
        """Send the answer, in as many replies as it needs. Raises NotFound, ClientError or StoreUnavailable."""
        question = decode(LogsQuery, delivery.payload)
        if question.name not in self._queries:
            raise NotFound(f"There is no query named {question.name!r}; there are {', '.join(self._queries)}.")
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                answer = await self._queries[question.name](question.parameters)
        except TimeoutError:
            raise ClientError(f"This took longer than {QUERY_SECONDS:g} s; ask for a shorter time.") from None
        for reply in await asyncio.to_thread(split_replies, answer):
            await delivery.send(reply)

    async def _entries(self, parameters: Parameters) -> Answer:
        question = read(Entries, parameters)
        bound = question.bound()
        rows = await self._store.query("newest" if question.order == "desc" else "oldest", bound | question.page())
        (counted,) = await self._store.query("count", bound)
        return shape_entries(question, rows, counted["total"])

    async def _analytics(self, parameters: Parameters) -> Answer:
        question = read(Analytics, parameters).window()
        started = time.perf_counter()
        totals = await self._store.query("totals", question.bound())
        return shape_analytics(question, totals, time.perf_counter() - started)

    async def _status(self, parameters: Parameters) -> Answer:
        if parameters:
            raise ClientError("parameters: `status` takes none.")
        known = {"database": str(self._store.path), "backend": "duckdb", **asdict(self._progress)}
        if self._store.problem:
            return {"status": "waiting", "problem": self._store.problem, **known}
        (extent,) = await self._store.query("extent", {})
        return {"status": "healthy", "problem": "", **known, **extent, "bytes": self._store.size()}
