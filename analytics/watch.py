"""Records as they arrive, for whoever looks on. A slow watcher loses the oldest and is told so; it delays nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from shared.bus import Delivery
from shared.channels import AccessRecord, encode

WAITING_RECORDS = 500


class Watchers:
    """`show` is called with each record once; `serve` sends them to one watcher until it leaves."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[AccessRecord]] = set()
        self._missed: dict[asyncio.Queue[AccessRecord], int] = {}

    def show(self, records: Iterable[AccessRecord]) -> None:
        if not self._queues:
            return
        for record in records:
            for queue in self._queues:
                if queue.full():
                    queue.get_nowait()
                    self._missed[queue] += 1
                queue.put_nowait(record)

    async def serve(self, delivery: Delivery) -> None:
        """Replies are lists of events: {type, timestamp, …}, with the fields of the record. Ends by cancellation."""
        queue: asyncio.Queue[AccessRecord] = asyncio.Queue(WAITING_RECORDS)
        self._queues.add(queue)
        self._missed[queue] = 0
        try:
            while True:
                records = [await queue.get()]
                while not queue.empty():
                    records.append(queue.get_nowait())
                missed, self._missed[queue] = self._missed[queue], 0
                events = [event_of(record) for record in records]
                if missed:
                    events.insert(0, {"type": "overflow", "missed": missed, "timestamp": records[0].timestamp})
                await delivery.send(encode(events))
        finally:
            self._queues.discard(queue)
            del self._missed[queue]


def event_of(record: AccessRecord) -> dict[str, Any]:
    failed = record.status_code >= 400 or bool(record.error_kind)
    return {"type": "request_error" if failed else "request_complete", **asdict(record)}
