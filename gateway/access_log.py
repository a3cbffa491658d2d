"""The one layer every request passes: it gets an id, is admitted, is answered, and leaves one record behind.

The record is measured and handed on after the last byte; nothing here waits for the bus, and a record that cannot be
published is counted, never an error of the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import re
import secrets
import time
from collections import deque

from gateway.asgi import ASGIApp, Message, Receive, Scope, Send
from gateway.guard import Guard
from gateway.problems import dialect_of, render, respond
from gateway.spool import Spool
from gateway.tracing import UNTRACED, Trace
from shared.bus import Bus
from shared.channels import ACCESS_RECORD, AccessRecord
from shared.errors import BusUnavailable, CCProxyError
from shared.log import get_log
from shared.metrics import Metrics
from shared.records import WATCHED_KEY, pack, pack_begun
from shared.tracing import Tracer

IDS = random.Random(secrets.randbits(128))  # noqa: S311 - unique, not secret: a system call each would be wasted
GIVEN_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
MAX_WAITING_RECORDS = 10_000  # about 8 MB; beyond it the oldest is dropped and counted
MAX_BATCH = 256  # as the channel says
ENOUGH_WAITING = ACCESS_RECORD.max_length // 2  # messages that analytics has not stored; more find room on our disk
LOOK_SECONDS = 1.0
SPOOL_RECORDS = 1000  # fewer wait in memory: Redis may be back before a file is worth it
RETRY_SECONDS = 0.5
GATHER_SECONDS = 0.05  # a message costs as much as two hundred records in it


class AccessLog:
    """Wraps `app`; scope gets `ccproxy.record`, `.headers` (by name), `.trace`, and `.begin` to call with a record."""

    def __init__(
        self, app: ASGIApp, guard: Guard, metrics: Metrics, records: Records | None, tracer: Tracer | None = None
    ) -> None:
        self._app, self._guard, self._metrics = app, guard, metrics
        self._records, self._tracer = records, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await refuse_upgrade(scope, receive, send)
            return
        headers = dict(scope["headers"])
        record = open_record(scope, headers)
        trace = UNTRACED if self._tracer is None else Trace(self._tracer, headers.get(b"traceparent"))
        scope["ccproxy.record"], scope["ccproxy.headers"], scope["ccproxy.trace"] = record, headers, trace
        scope["ccproxy.begin"] = self._records.begin if self._records else _nobody_looks_on
        answer = Answer(record, send)
        self._metrics.active.inc()
        try:
            record.caller = self._guard.admit(record.method, record.path, headers, len(scope["headers"]))
            await self._app(scope, receive, answer.send)
        except CCProxyError as error:
            record.error_kind, record.error_message = error.kind, error.message[:500]
            await answer.fail(error)
        except Exception as error:  # noqa: BLE001 - the ASGI edge: nothing behind it may turn into a traceback
            get_log().exception("request_failed", request_id=record.request_id, path=record.path)
            record.error_kind, record.error_message = CCProxyError.kind, repr(error)[:500]
            await answer.fail(CCProxyError())
        finally:
            self._metrics.active.dec()
            self._close(scope, record, answer)
            trace.close(record)

    def _close(self, scope: Scope, record: AccessRecord, answer: Answer) -> None:
        record.duration_ms = (time.perf_counter() - answer.began) * 1000
        record.status_code = record.status_code or answer.status or 499
        record.endpoint = scope.get("ccproxy.endpoint") or str(getattr(scope.get("route"), "path", "unmatched"))
        self._metrics.observe(record)
        if self._records is not None:
            self._records.add(record)


def _nobody_looks_on(_: AccessRecord) -> None: ...


class Answer:
    """The way out: notes status, size and first byte, and can still fail while nothing was sent."""

    __slots__ = ("_record", "_send", "began", "status")

    def __init__(self, record: AccessRecord, send: Send) -> None:
        self._record = record
        self._send = send
        self.began = time.perf_counter()
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            shown = self._record.client_request_id or self._record.request_id
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", shown.encode())]
        elif body := message.get("body"):
            self._record.bytes_out += len(body)
            if self._record.first_byte_ms is None:
                self._record.first_byte_ms = (time.perf_counter() - self.began) * 1000
        await self._send(message)

    async def fail(self, error: CCProxyError) -> None:
        """An error response; once bytes have left only the connection can say that something broke."""
        if self.status:
            raise error
        await respond(render(error, dialect_of(self._record.path), self._record.request_id), self.send)


def open_record(scope: Scope, headers: dict[bytes, bytes]) -> AccessRecord:
    client = scope.get("client")
    given = headers.get(b"x-request-id", b"")
    return AccessRecord(
        request_id=f"req_{IDS.getrandbits(96):024x}",
        timestamp=time.time(),
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        client_ip=client[0] if client else "",
        user_agent=headers.get(b"user-agent", b"").decode("latin-1"),
        client_request_id=given.decode() if GIVEN_ID.fullmatch(given) else "",
    )


async def refuse_upgrade(scope: Scope, receive: Receive, send: Send) -> None:
    """WebSockets are not served. 426 at the handshake makes clients fall back to HTTP at once."""
    if scope["type"] != "websocket":
        return
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": 426, "headers": [(b"upgrade", b"http/1.1")]})
        await send({"type": "websocket.http.response.body", "body": b"", "more_body": False})
    else:
        await send({"type": "websocket.close", "code": 1008})


class Records:
    """Records on their way to analytics: added without waiting, published in batches by a task of its own.

    While the bus or analytics is away they wait in memory, then in `spool`; what finds no room anywhere is counted as
    lost.
    """

    def __init__(self, bus: Bus, metrics: Metrics, spool: Spool | None = None) -> None:
        self._bus = bus
        self._metrics = metrics
        self._spool = spool
        self._waiting: deque[AccessRecord] = deque()
        self._wake = asyncio.Event()
        self._looked, self._watched = -math.inf, False
        self._begun: deque[AccessRecord] = deque(maxlen=MAX_BATCH)
        self._task: asyncio.Task[None] | None = None
        self.lost = 0

    def begin(self, record: AccessRecord) -> None:
        """Let those who look on know of a request that is going to be answered."""
        self._begun.append(record)
        self._wake.set()

    def add(self, record: AccessRecord) -> None:
        if len(self._waiting) >= MAX_WAITING_RECORDS:
            self._waiting.popleft()
            self._count_lost(1)
        self._waiting.append(record)
        self._wake.set()

    async def __aenter__(self) -> Records:
        self._task = asyncio.create_task(self._publish_as_they_come())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        try:
            while self._waiting:
                await self._publish_batch()
        except BusUnavailable:
            await self._put_aside()
        self._count_lost(len(self._waiting))
        if self.lost:
            get_log().warning("access_records_lost", count=self.lost)

    async def _publish_as_they_come(self) -> None:
        self._wake.set()  # an earlier process may have left some on disk
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            try:
                await self._look()
                await self._tell_of_begun()
                while self._waiting:
                    await self._publish_batch()
                await self._take_up()
            except BusUnavailable:
                self._wake.set()
                if len(self._waiting) >= SPOOL_RECORDS:
                    await self._put_aside()
                await asyncio.sleep(RETRY_SECONDS)

    async def _look(self) -> None:
        """Whether there is room, and who looks on. Raises BusUnavailable while analytics is so far behind that Redis
        would run out of memory."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            waiting, watched = await asyncio.gather(self._bus.waiting(ACCESS_RECORD), self._bus.get(WATCHED_KEY))
            if waiting >= ENOUGH_WAITING:
                raise BusUnavailable
            self._looked, self._watched = time.monotonic(), watched is not None

    async def _tell_of_begun(self) -> None:
        begun = list(self._begun)
        self._begun.clear()
        if begun and self._watched:
            await self._bus.publish(ACCESS_RECORD, pack_begun(begun))

    async def _publish_batch(self) -> None:
        """One message for all that wait; what could not be published goes back to the head of the line."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
        try:
            await self._bus.publish(ACCESS_RECORD, pack(batch))
        except BaseException:
            self._waiting.extendleft(reversed(batch))
            raise

    async def _put_aside(self) -> None:
        """Move what waits to the disk, if there is room."""
        batch = list(self._waiting)
        self._waiting.clear()
        kept = False
        try:
            kept = self._spool is not None and bool(batch) and await asyncio.to_thread(self._spool.keep, batch)
        finally:
            if not kept:
                self._waiting.extendleft(reversed(batch))

    async def _take_up(self) -> None:
        """Publish what lies on the disk. Raises BusUnavailable; what was published by then comes once more, and adds
        nothing."""
        while self._spool is not None and (found := await asyncio.to_thread(self._spool.oldest)):
            path, records = found
            for start in range(0, len(records), MAX_BATCH):
                await self._look()
                await self._bus.publish(ACCESS_RECORD, pack(records[start : start + MAX_BATCH]))
            await asyncio.to_thread(self._spool.drop, path)

    def _count_lost(self, records: int) -> None:
        self.lost += records
        self._metrics.records_lost.inc(records)
