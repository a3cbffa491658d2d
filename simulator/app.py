"""The simulator as one ASGI application: the pretended services, and the pages that tell tests what
really happened.

Every exchange is watched for the client's departure; it then ends at once and is recorded as
cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from shared.captures.capture import Capture
from shared.runtime.log import get_log
from simulator.anthropic.files import MAX_FILE_BYTES
from simulator.anthropic.messages import JSON, MAX_BODY_BYTES, Anthropic
from simulator.clock import SimulatedClock
from simulator.codex.responses import BACKEND, PUBLIC, SimulatedCodex
from simulator.exchange import Left, SimulatedExchange
from simulator.ledger import Ledger
from simulator.logins.servers import Logins
from simulator.replay import Replay

Provider = Callable[[SimulatedExchange], Coroutine[Any, Any, None]]

GROUND_TRUTH = "/simulator/"
MAX_ORDER_BYTES = 1024
SETTLING_TURNS = 100
BROKEN = (
    b'{"type":"error","error":{"type":"api_error","message":"The simulator broke; its log '
    b"says "
    b'how."}}'
)


class Services:
    """All services on one address. Paths differ, except `/v1/models`, where headers choose the
    service.
    """

    def __init__(self, clock: SimulatedClock) -> None:
        self._anthropic = Anthropic(clock)
        self._codex = SimulatedCodex(clock)
        self._logins = Logins()

    async def __call__(self, exchange: SimulatedExchange) -> None:
        asks_anthropic = exchange.headers.keys() & {"anthropic-version", "x-api-key"}
        if self._logins.serves(exchange):
            await self._logins(exchange)
        elif exchange.path.startswith((BACKEND, PUBLIC)) or (
            exchange.path == "/v1/models" and not asks_anthropic
        ):
            await self._codex(exchange)
        else:
            await self._anthropic(exchange)


def body_limit(path: str) -> int:
    """Return how many bytes of a request to `path` are read."""
    return MAX_FILE_BYTES if path in ("/v1/files", "/v1/messages/batches") else MAX_BODY_BYTES


class Simulator:
    def __init__(
        self, provider: Provider | None = None, replay: list[Capture] | None = None
    ) -> None:
        """Answer by `provider`, else by the captured answers of `replay` and the usual services."""
        self.ledger = Ledger()
        self._clock = SimulatedClock()
        services = Services(self._clock)
        self._provider = provider or (services if replay is None else Replay(replay, services))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = SimulatedExchange(scope, receive, send)
        if exchange.path.startswith(GROUND_TRUTH):
            with contextlib.suppress(Left):
                await exchange.read(MAX_ORDER_BYTES)
                await self._tell(exchange)
            return
        # Opened before the body is read: a request that breaks off in its body is a record as well.
        self.ledger.open(exchange.record)
        # True until the answer is whole, so that every way out of the block but one leaves it so.
        cancelled = True
        try:
            await exchange.read(body_limit(exchange.path))
            cancelled = await self._answer(exchange)
        except Left:
            pass
        finally:
            self.ledger.end(exchange.record, cancelled=cancelled)

    async def _answer(self, exchange: SimulatedExchange) -> bool:
        """Answer the request. Return False if the client left first."""
        reply = asyncio.create_task(self._provider(exchange))
        # The reply does not notice a client that has gone while it waits or computes; this task
        # does.
        departure = asyncio.create_task(exchange.departure())
        try:
            await asyncio.wait((reply, departure), return_when=asyncio.FIRST_COMPLETED)
            if not reply.done():
                return True
            reply.result()
        except Exception:  # noqa: BLE001 - the ASGI edge
            get_log().exception("simulator_broke", path=exchange.record.path)
            # A reply that has begun cannot become an error any more; it is dropped.
            if exchange.record.status is None:
                await exchange.send(500, BROKEN, JSON)
        finally:
            for task in (reply, departure):
                task.cancel()
            # Both are over before the ledger counts the exchange: no byte is noted after the end.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(reply, departure, return_exceptions=True)
        return False

    async def _tell(self, exchange: SimulatedExchange) -> None:
        # A reply's last byte reaches its client before the reply is counted
        for _ in range(SETTLING_TURNS):
            if self.ledger.is_settled:
                break
            await asyncio.sleep(0)
        match exchange.record.method, exchange.path.removeprefix(GROUND_TRUTH):
            case "GET", "requests":
                status = 200
                found = orjson.dumps(self.ledger.requests())
            case "GET", "totals":
                status = 200
                found = orjson.dumps(self.ledger.totals())
            case "DELETE", "requests":
                self.ledger.clear()
                status = 200
                found = b"{}"
            case "POST", "clock":
                status, found = self._move_clock(exchange.record.body)
            case _:
                status = 404
                found = b"{}"
        await exchange.send(status, found, JSON)

    def _move_clock(self, order: bytes) -> tuple[int, bytes]:
        """Move the clock of the prompt caches on by the `seconds` of `order`; return the status and
        the body of the answer.
        """
        try:
            seconds = float(orjson.loads(order)["seconds"])
        except (ValueError, TypeError, KeyError):
            return 400, b'{"error":"seconds: a number is needed"}'
        return 200, orjson.dumps({"ahead_seconds": self._clock.forward(seconds)})
