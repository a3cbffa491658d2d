"""The SDK worker's turns against the real `claude` and the simulated provider, without a bus in
between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from sdk_worker.asking import AskPermission
from sdk_worker.claude.driver import Driver, ProgramFile
from sdk_worker.custom_tools import ResultDesk
from sdk_worker.frames import Mode
from sdk_worker.process import open_pool
from sdk_worker.process import timeouts as timeouts_of
from sdk_worker.reply import LeftReplies
from sdk_worker.sessions import Sessions
from sdk_worker.worker import Worker
from shared.bus.channels import Turn, encode_payload
from shared.formats.messages.whole import WholeMessage
from shared.formats.sse import Parser
from shared.runtime.errors import CallerGone
from shared.settings.tree import Settings
from tests.support.simulator_fixture import API_KEY

MODEL = "claude-sonnet-4-5"


class Delivered:
    """A turn in the worker's hands, and what it answered."""

    def __init__(self, **turn: Any) -> None:
        self.request_id = "r1"
        self.payload = encode_payload(Turn(self.request_id, **turn))
        self.caller_gone, self.caller_lost = asyncio.Event(), False
        self.replies: list[bytes] = []
        self.arrived = asyncio.Event()

    async def send(self, data: bytes) -> None:
        if self.caller_gone.is_set():
            raise CallerGone
        self.replies.append(data)
        self.arrived.set()

    async def until(self, text: bytes) -> None:
        """Wait for a reply that holds `text`."""
        while text not in b"".join(self.replies):
            self.arrived.clear()
            await self.arrived.wait()

    @property
    def head(self) -> dict[str, Any]:
        return orjson.loads(self.replies[0])

    @property
    def tail(self) -> dict[str, Any]:
        return orjson.loads(self.replies[-1])

    @property
    def events(self) -> list[dict[str, Any]]:
        frames = b"".join(reply for reply in self.replies if not reply.startswith(b"{"))
        return [orjson.loads(event.data) for event in Parser().feed(frames)]

    @property
    def message(self) -> dict[str, Any]:
        """The frames folded into one message, as a client's library would."""
        whole = WholeMessage()
        for event in self.events:
            whole.feed(event)
        assert whole.stopped
        return whole.message

    @property
    def text(self) -> str:
        return "".join(
            block["text"] for block in self.message["content"] if block["type"] == "text"
        )


def body(prompt: Any, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return {"model": MODEL, "max_tokens": 1000, "stream": True, "messages": messages, **more}


def worker_settings(simulator_url: str, cwd: Path, **sdk: Any) -> Settings:
    return Settings(
        claude={
            "base_url": simulator_url,
            "api_key": API_KEY,
            "code_options": {"cwd": cwd},
            "sdk_message_mode": "ignore",
        },
        sdk={"warm": "start"} | sdk,
        _env_file=None,
    )


class Shelf:
    """The bus's verbs for what is kept."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.leases: dict[str, str] = {}
        self.stored = asyncio.Event()

    async def lease(self, key: str, owner: str, *, ttl: float) -> bool:
        if self.leases.setdefault(key, owner) != owner:
            return False
        if not ttl:
            del self.leases[key]
        return True

    async def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        self.values[key] = value
        self.stored.set()


class Stack:
    """A pool that fills itself, and workers on it."""

    def __init__(
        self, settings: Settings, driver: Driver, ask: AskPermission | None = None
    ) -> None:
        self.settings = settings
        self.store = Shelf()
        self.pool = open_pool(settings, ProgramFile(settings.claude.cli_path), driver, ask=ask)
        self.sessions = self.open_sessions()
        self.left = LeftReplies(self.store, "w1", seconds=60)

    def worker(self, mode: Mode = "ignore", **timeouts: float) -> Worker:
        times = replace(timeouts_of(self.settings), **timeouts)
        return Worker(
            self.pool,
            self.sessions,
            self.left,
            ResultDesk("w1", None),
            name="w1",
            mode=mode,
            pretty=False,
            timeouts=times,
        )

    def open_sessions(self, **limits: Any) -> Sessions:
        """Sessions as a worker has them; on the same shelf, another worker."""
        given = {"limit": 4, "idle": 60.0, "timeout": 20.0, "kept_by": "w1"} | limits
        return Sessions(self.pool, self.store, self.settings.claude.code_options, **given)

    async def answer(self, prompt: Any, mode: Mode = "ignore", **more: Any) -> Delivered:
        return await self.deliver(Delivered(body=body(prompt, **more)), mode)

    async def deliver(self, delivered: Delivered, mode: Mode = "ignore") -> Delivered:
        await self.worker(mode).handle(delivered)
        return delivered


@asynccontextmanager
async def running_stack(
    settings: Settings, driver: Driver, ask: AskPermission | None = None
) -> AsyncIterator[Stack]:
    stack = Stack(settings, driver, ask)
    filling = asyncio.create_task(stack.pool.keep_filled())
    try:
        yield stack
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
        stack.sessions.forget_all()
        await stack.pool.drain()
