"""Message batches: accepted at once, finished when they are next looked at, their results as lines
of JSON.

So a test needs no waiting: a batch is `in_progress` in the reply that creates it, `canceling` in
the reply that cancels it, and `ended` from the next look on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson

from simulator.anthropic.access import AnthropicCaller, admit
from simulator.anthropic.paging import page_by_id
from simulator.anthropic.problem import AnthropicProblem, refuse
from simulator.exchange import Routes, SimulatedExchange
from simulator.shape import Misfit, list_of, mapping, matching, record

MOST_REQUESTS = 100_000
SHAPE = record(
    "requests",
    requests=list_of(
        record("custom_id params", custom_id=matching(r"^[a-zA-Z0-9_-]{1,64}$"), params=mapping),
        most=MOST_REQUESTS,
    ),
)
JSON = {"content-type": "application/json"}
LINES = {"content-type": "application/x-jsonl"}
# The real service names itself here, whatever address it was asked at; a proxy has to see to it.
RESULTS = "https://api.anthropic.com/v1/messages/batches/{id}/results"
UNKNOWN = re.compile(r"[^a-zA-Z0-9_-]")

Complete = Callable[[dict[str, Any], AnthropicCaller], dict[str, Any]]


@dataclass(slots=True)
class Batch:
    """A batch; `results` are the batch's lines after its end."""

    id: str
    caller: AnthropicCaller
    requests: list[dict[str, Any]]
    created: datetime
    canceled: datetime | None = None
    ended: datetime | None = None
    results: list[dict[str, Any]] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        for result in self.results:
            counts[result["result"]["type"]] += 1
        if self.ended is None:
            counts["processing"] = len(self.requests)
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": "ended"
            if self.ended
            else "canceling"
            if self.canceled
            else "in_progress",
            "request_counts": counts,
            "created_at": stamp(self.created),
            "expires_at": stamp(self.created + timedelta(days=1)),
            "ended_at": stamp(self.ended),
            "cancel_initiated_at": stamp(self.canceled),
            "archived_at": None,
            "results_url": RESULTS.format(id=self.id) if self.ended else None,
        }


class Batches:
    """The batches of the service. `routes` are the endpoints; `complete` makes the message for the
    `params` of a request.
    """

    def __init__(self, complete: Complete) -> None:
        self._complete = complete
        self._kept: dict[str, Batch] = {}
        self.routes: Routes = {
            ("POST", "/v1/messages/batches"): self._create,
            ("GET", "/v1/messages/batches"): self._list,
            ("GET", "/v1/messages/batches/{id}"): self._look,
            ("DELETE", "/v1/messages/batches/{id}"): self._delete,
            ("POST", "/v1/messages/batches/{id}/cancel"): self._cancel,
            ("GET", "/v1/messages/batches/{id}/results"): self._show_results,
        }

    async def _create(self, exchange: SimulatedExchange) -> None:
        caller = admit(exchange.headers)
        try:
            body = orjson.loads(exchange.record.body)
            SHAPE(body, "", caller.betas)
        except orjson.JSONDecodeError as error:
            refuse(f"The request body is not valid JSON: {error}")
        except Misfit as misfit:
            refuse(str(misfit))
        names = [request["custom_id"] for request in body["requests"]]
        if not names:
            refuse("requests: List should have at least 1 item after validation, not 0")
        if len(set(names)) != len(names):
            refuse("requests: custom_id must be unique within the batch")
        batch = Batch(f"msgbatch_{uuid4().hex[:24]}", caller, body["requests"], datetime.now(UTC))
        self._kept[batch.id] = batch
        await exchange.send(200, orjson.dumps(batch.describe()), JSON)

    async def _list(self, exchange: SimulatedExchange) -> None:
        admit(exchange.headers)
        entries = [batch.describe() for batch in reversed(self._kept.values())]
        await exchange.send(200, orjson.dumps(page_by_id(entries, exchange.query)), JSON)

    async def _look(self, exchange: SimulatedExchange, batch_id: str) -> None:
        admit(exchange.headers)
        batch = self._find(batch_id)
        if batch.ended is None:
            # The first look ends the batch, so that no test has to wait for it.
            batch.ended = datetime.now(UTC)
            batch.results = [self._result(batch, request) for request in batch.requests]
        await exchange.send(200, orjson.dumps(batch.describe()), JSON)

    async def _delete(self, exchange: SimulatedExchange, batch_id: str) -> None:
        admit(exchange.headers)
        if self._find(batch_id).ended is None:
            refuse(
                f"Message batch {batch_id} cannot be deleted while it is being processed; cancel "
                "it first."
            )
        del self._kept[batch_id]
        await exchange.send(
            200, orjson.dumps({"id": batch_id, "type": "message_batch_deleted"}), JSON
        )

    async def _cancel(self, exchange: SimulatedExchange, batch_id: str) -> None:
        admit(exchange.headers)
        batch = self._find(batch_id)
        if batch.ended is not None:
            refuse(f"Message batch {batch_id} has ended and cannot be canceled.")
        batch.canceled = datetime.now(UTC)
        await exchange.send(200, orjson.dumps(batch.describe()), JSON)

    async def _show_results(self, exchange: SimulatedExchange, batch_id: str) -> None:
        admit(exchange.headers)
        batch = self._find(batch_id)
        if batch.ended is None:
            raise AnthropicProblem(404, f"Message batch {batch_id} has no results available.")
        await exchange.open(200, LINES)
        for result in batch.results:
            await exchange.write(orjson.dumps(result) + b"\n")
        await exchange.close()

    def _find(self, batch_id: str) -> Batch:
        if batch_id not in self._kept:
            raise AnthropicProblem(404, f"Message batch not found: {UNKNOWN.sub('?', batch_id)}")
        return self._kept[batch_id]

    def _result(self, batch: Batch, request: dict[str, Any]) -> dict[str, Any]:
        """Return the line of a request; a failure fails no further request."""
        result: dict[str, Any]
        if batch.canceled is not None:
            result = {"type": "canceled"}
        else:
            try:
                result = {
                    "type": "succeeded",
                    "message": self._complete(request["params"], batch.caller),
                }
            except AnthropicProblem as problem:
                result = {"type": "errored", "error": orjson.loads(problem.envelope("req_batch"))}
        return {"custom_id": request["custom_id"], "result": result}


def stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
