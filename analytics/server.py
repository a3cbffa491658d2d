"""Answers over the bus: a question has a name and parameters, and each name one handler."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from analytics.consumer import Progress
from analytics.pricing import Prices
from analytics.questions import (
    Analytics,
    Answer,
    Entries,
    Filter,
    Nothing,
    Parameters,
    Permissions,
    Reset,
    Sql,
    Timeline,
    read_question,
    shape_analytics,
    shape_entries,
    spans,
    split_replies,
)
from analytics.store import Store
from shared.bus import Delivery
from shared.bus.channels import LogsQuery, decode_payload
from shared.runtime.errors import ClientError, NotFound
from shared.runtime.log import get_log

QUERY_SECONDS = 30.0
SQL_SECONDS = 10.0
EXPORT_SECONDS = 600.0
QUANTILES_OF = 100_000  # records, of all a timeline is about
CHUNK_BYTES = 512 * 1024


class QueryServer:
    """The server of questions, answered from the store beside the single writer."""

    def __init__(self, store: Store, progress: Progress, prices: Prices) -> None:
        self._store = store
        self._progress = progress
        self._prices = prices
        self._queries: dict[str, Callable[[Parameters], Awaitable[Answer]]] = {
            "entries": self._entries,
            "analytics": self._analytics,
            "timeline": self._timeline,
            "usage": self._usage,
            "permissions": self._permissions,
            "sql": self._sql,
            "status": self._status,
            "reset": self._reset,
            "refresh_prices": self._refresh_prices,
        }

    async def answer(self, delivery: Delivery) -> None:
        """Send the answer in as many replies as needed. Raises NotFound, ClientError or
        StoreUnavailable.
        """
        question = decode_payload(LogsQuery, delivery.payload)
        if question.name == "export":
            await self._export(delivery, question.parameters)
            return
        if question.name not in self._queries:
            raise NotFound(
                f"There is no query named {question.name!r}; there are {', '.join(self._queries)}."
            )
        patience = SQL_SECONDS if question.name == "sql" else QUERY_SECONDS
        try:
            async with asyncio.timeout(patience):
                answer = await self._queries[question.name](question.parameters)
        except TimeoutError:
            raise ClientError(
                f"This took longer than {patience:g} s; ask for a shorter time."
            ) from None
        for reply in await asyncio.to_thread(split_replies, answer):
            await delivery.send(reply)

    async def _entries(self, parameters: Parameters) -> Answer:
        question = read_question(Entries, parameters)
        bound = question.bound()
        rows = await self._store.query(question.statement, bound | question.page())
        (counted,) = await self._store.query("count", bound)
        return shape_entries(question, rows, counted["total"])

    async def _analytics(self, parameters: Parameters) -> Answer:
        question = read_question(Analytics, parameters).window()
        started = time.perf_counter()
        totals = await self._store.query("totals", question.bound())
        return shape_analytics(question, totals, time.perf_counter() - started)

    async def _timeline(self, parameters: Parameters) -> Answer:
        question = read_question(Timeline, parameters).window()
        (counted,) = await self._store.query("count", question.bound())
        # Quantiles of a sample of the records: the memory of exact ones grows with their number.
        every = counted["total"] // QUANTILES_OF + 1
        rows = await self._store.query(
            "timeline", question.bound() | {"bucket": question.step(), "every": every}
        )
        return {"results": rows, "bucket": question.step(), "start_time": question.start_time}

    async def _usage(self, parameters: Parameters) -> Answer:
        read_question(Nothing, parameters)
        rows = await self._store.query("spent", spans(time.time()))
        return {"results": rows, "prices_as_of": str(self._prices.list.as_of)}

    async def _permissions(self, parameters: Parameters) -> Answer:
        rows = await self._store.query(
            "permissions", read_question(Permissions, parameters).model_dump()
        )
        return {"results": rows, "count": len(rows)}

    async def _sql(self, parameters: Parameters) -> Answer:
        question = read_question(Sql, parameters)
        # One row more than is shown tells whether there are more.
        rows = await self._store.query_freely(question.sql, question.limit + 1)
        shown = rows[: question.limit]
        return {
            "results": shown,
            "count": len(shown),
            "limit": question.limit,
            "cut": len(rows) > len(shown),
        }

    async def _status(self, parameters: Parameters) -> Answer:
        read_question(Nothing, parameters)
        known = {"database": str(self._store.path), "backend": "duckdb", **asdict(self._progress)}
        if self._store.problem:
            return {"status": "waiting", "problem": self._store.problem, **known}
        (extent,) = await self._store.query("extent", {})
        return {"status": "healthy", "problem": "", **known, **extent, "bytes": self._store.size()}

    async def _reset(self, parameters: Parameters) -> Answer:
        read_question(Reset, parameters)
        forgotten = await self._store.change("forget_hours", "forget_records")
        get_log().warning("records_forgotten", records=forgotten)
        message = (
            f"{forgotten} records and every sum of older ones are forgotten; what tools asked for "
            "is kept."
        )
        return {
            "status": "success",
            "message": message,
            "timestamp": time.time(),
            "backend": "duckdb",
        }

    async def _refresh_prices(self, parameters: Parameters) -> Answer:
        read_question(Nothing, parameters)
        fetched = await self._prices.refresh()
        return {
            "prices_as_of": str(fetched.as_of),
            "models": len(fetched.models),
            "source": fetched.source,
        }

    async def _export(self, delivery: Delivery, parameters: Parameters) -> None:
        """Send the matching records as a Parquet file, in pieces."""
        bound = read_question(Filter, parameters).bound()
        self._store.exports.mkdir(mode=0o700, exist_ok=True)
        path = self._store.exports / f"{secrets.token_hex(8)}.parquet"
        try:
            async with asyncio.timeout(EXPORT_SECONDS):
                await self._store.export(bound, path)
            with path.open("rb") as file:
                while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    await delivery.send(piece)
        finally:
            path.unlink(missing_ok=True)
