"""Answers over the bus: a question has a name and parameters, and each name one handler."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from analytics.consumer import Progress
from analytics.outcomes import level_of
from analytics.price_updates import PriceUpdates
from analytics.questions import (
    Agents,
    Analytics,
    Answer,
    Entries,
    Export,
    Groups,
    Misses,
    Nothing,
    Outcomes,
    Parameters,
    Permissions,
    ResetOrder,
    Row,
    SessionPages,
    Sql,
    Timeline,
    read_question,
    searched_since,
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
# Most records that a question goes through which no sums can answer, the newest of its time: those
# take about a third of a second of two cores.
MOST_SEARCHED = 1_000_000  # for a text: a dozen columns of each
MOST_IN_SESSIONS = 2_000_000
CHUNK_BYTES = 512 * 1024


class QueryServer:
    """The server of questions, answered from the store beside the single writer."""

    def __init__(
        self,
        store: Store,
        progress: Progress,
        updates: PriceUpdates,
        forget: Callable[[], None] = lambda: None,
        *,
        most_searched: int = MOST_SEARCHED,
        most_in_sessions: int = MOST_IN_SESSIONS,
    ) -> None:
        self._most_searched = most_searched
        self._most_in_sessions = most_in_sessions
        self._store = store
        self._progress = progress
        self._updates = updates
        self._forget = forget
        self._queries: dict[str, Callable[[Parameters], Awaitable[Answer]]] = {
            "entries": self._entries,
            "analytics": self._analytics,
            "timeline": self._timeline,
            "groups": self._groups,
            "sessions": self._sessions,
            "agents": self._agents,
            "misses": self._misses,
            "outcomes": self._outcomes,
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
        timeout = SQL_SECONDS if question.name == "sql" else QUERY_SECONDS
        try:
            async with asyncio.timeout(timeout):
                answer = await self._queries[question.name](question.parameters)
        except TimeoutError:
            raise ClientError(
                f"This took longer than {timeout:g} s; ask for a shorter time."
            ) from None
        for reply in await asyncio.to_thread(split_replies, answer):
            await delivery.send(reply)

    async def _entries(self, parameters: Parameters) -> Answer:
        question = read_question(Entries, parameters)
        bound = question.bound()
        limited = await self._newest(bound, self._most_searched) if question.search else {}
        bound |= limited
        rows = await self._store.query(question.statement, bound | question.page())
        total = await self._total(rows, bound)
        return shape_entries(question, rows, total) | searched_since(limited)

    async def _total(self, rows: list[Row], bound: Parameters) -> int:
        """Return the number of all matching records: taken out of the `rows` that tell it, else
        counted.
        """
        told = [row.pop("total") for row in rows if "total" in row]
        if told:
            return int(told[0])
        (counted,) = await self._store.query("count", bound)
        return int(counted["total"])

    async def _analytics(self, parameters: Parameters) -> Answer:
        question = read_question(Analytics, parameters).window()
        started = time.perf_counter()
        totals = await self._store.query("totals", question.bound())
        return shape_analytics(question, totals, time.perf_counter() - started)

    async def _timeline(self, parameters: Parameters) -> Answer:
        question = read_question(Timeline, parameters).window()
        bound = question.bound()
        every = await self._one_in(bound)
        rows = await self._store.query(
            "timeline", bound | {"bucket": question.step(), "every": every}
        )
        return {"results": rows, "bucket": question.step(), "start_time": question.start_time}

    async def _groups(self, parameters: Parameters) -> Answer:
        question = read_question(Groups, parameters).window()
        bound = question.bound()
        every = await self._one_in(bound)
        chosen = {"by": question.by, "limit": question.limit, "every": every}
        return {"results": await self._store.query("groups", bound | chosen), "by": question.by}

    async def _one_in(self, bound: Parameters) -> int:
        """Return the share of the records that quantiles are taken of, as "one in so many".

        The memory of exact quantiles grows with the number of records.
        """
        (counted,) = await self._store.query("count", bound)
        return int(counted["total"]) // QUANTILES_OF + 1

    async def _newest(self, bound: Parameters, most: int) -> dict[str, Any]:
        """Return the later `start_time` that leaves about the `most` newest records of the time;
        empty where there are no more records.
        """
        times = {name: bound[name] for name in ("start_time", "end_time")}
        (found,) = await self._store.query("lookback", times | {"most": most})
        if found["since"] is None:
            return {}
        return {"start_time": max(found["since"], times["start_time"])}

    async def _sessions(self, parameters: Parameters) -> Answer:
        question = read_question(SessionPages, parameters).window()
        bound = question.bound()
        limited = await self._newest(bound, self._most_in_sessions)
        rows = await self._store.query("sessions", bound | limited | question.page())
        total = rows[0]["total"] if rows else 0
        for row in rows:
            del row["total"]
        answer = {"results": rows, "total_count": total, **question.page()}
        return answer | searched_since(limited)

    async def _agents(self, parameters: Parameters) -> Answer:
        question = read_question(Agents, parameters).window()
        rows = await self._store.query("agents", question.bound())
        return {"results": rows, "session_id": question.session_id}

    async def _misses(self, parameters: Parameters) -> Answer:
        question = read_question(Misses, parameters).window()
        rows = await self._store.query("misses", question.bound())
        return {"results": rows, "start_time": question.start_time}

    async def _outcomes(self, parameters: Parameters) -> Answer:
        question = read_question(Outcomes, parameters)
        rows = await self._store.query("outcomes", question.bound())
        return {"results": [row | {"level": level_of(row)} for row in rows]}

    async def _usage(self, parameters: Parameters) -> Answer:
        read_question(Nothing, parameters)
        rows = [
            {"span": span, **row}
            for span, times in spans(time.time()).items()
            for row in await self._store.query("spent", times)
        ]
        misses = await self._store.query("misses", Misses().window().bound())
        return {
            "results": rows,
            "prices_as_of": str(self._updates.prices.as_of),
            "cache_misses": misses,
        }

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
        read_question(ResetOrder, parameters)
        forgotten = await self._store.change(
            "forget_fingerprints", "forget_hours", "forget_recent_hours", "forget_records"
        )
        self._forget()
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
        fetched = await self._updates.refresh()
        return {
            "prices_as_of": str(fetched.as_of),
            "models": fetched.models,
            "source": fetched.source,
        }

    async def _export(self, delivery: Delivery, parameters: Parameters) -> None:
        """Send the matching records as a file of the wanted format, in pieces."""
        question = read_question(Export, parameters)
        self._store.exports.mkdir(mode=0o700, exist_ok=True)
        path = self._store.exports / f"{secrets.token_hex(8)}.{question.format}"
        try:
            async with asyncio.timeout(EXPORT_SECONDS):
                await self._store.export(question.bound(), path, question.format)
            with path.open("rb") as file:
                while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    await delivery.send(piece)
        finally:
            path.unlink(missing_ok=True)
