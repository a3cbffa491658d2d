"""A bus whose calls are answered by the scripts it was given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from shared.runtime.errors import CCProxyError

Step = bytes | CCProxyError


class Replies:
    def __init__(self, steps: list[Step]) -> None:
        self.steps, self.worker = steps, "desk-1"

    async def __aenter__(self) -> Replies:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self.steps:
            if isinstance(step, bytes):
                yield step
            else:
                raise step


class ScriptedBus:
    """Each call gets the next script; keeps what was asked."""

    def __init__(self, *scripts: list[Step]) -> None:
        self.scripts, self.asked = list(scripts), []  # type: ignore[var-annotated]

    def call(self, _channel: Any, payload: Any) -> Replies:
        self.asked.append(payload)
        return Replies(self.scripts.pop(0))
