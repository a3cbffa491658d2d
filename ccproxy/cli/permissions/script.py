"""Prompts for programs: every event as a line of JSON on stdout, answers as lines of JSON on stdin.

A line in is an answer's body with its `request_id`. What came of it is a line out named `answer`.
With a rules file the rules answer first; then standard input may be closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncGenerator
from typing import Any

from ccproxy.cli.gateway import Unanswered
from ccproxy.cli.output import show_json, show_line
from ccproxy.cli.permissions.automatic import Automatic
from ccproxy.cli.permissions.feed import EventFeed, FeedEvent

SETTLING = frozenset({"permission_resolved", "permission_expired", "permission_cancelled"})


class Script:
    """The permission handler for programs. `json_lines`: print every event; else only the answers,
    in a sentence.
    """

    def __init__(self, feed: EventFeed, automatic: Automatic | None, *, json_lines: bool) -> None:
        self._feed = feed
        self._automatic = automatic
        self._json_lines = json_lines
        self._answers: set[asyncio.Task[None]] = set()

    async def run(self, *, once: bool) -> None:
        """Until cancelled; with `once`, until a prompt is settled. Raises Unanswered when the
        gateway refuses us.
        """
        asks = self._json_lines and sys.stdin is not None and not sys.stdin.isatty()
        reading = asyncio.create_task(self._read_answers()) if asks else None
        try:
            async for event in self._feed.events():
                self._tell(event)
                if event.name == "permission_request":
                    self._answer_by_rule(event.data)
                if once and event.name in SETTLING:
                    break
        finally:
            if reading is not None:
                reading.cancel()
        await asyncio.gather(*self._answers)

    def _answer_by_rule(self, request: dict[str, Any]) -> None:
        if self._automatic is not None and (body := self._automatic.answer(request)):
            self._start_answer({"request_id": request["request_id"], **body})

    async def _read_answers(self) -> None:
        async for line in read_lines():
            try:
                answer = json.loads(line)
                answer["request_id"], answer["allowed"]
            except (ValueError, KeyError, TypeError) as error:
                self._write(
                    {"type": "answer", "counts": False, "message": f"not an answer: {error}"}
                )
            else:
                self._start_answer(answer)

    def _start_answer(self, answer: dict[str, Any]) -> None:
        task = asyncio.create_task(self._answer(str(answer.pop("request_id")), answer))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, request_id: str, body: dict[str, Any]) -> None:
        try:
            told = await self._feed.answer(request_id, body)
            said = {"counts": told.counts, "message": told.words}
        except Unanswered as error:
            said = {"counts": False, "message": error.message}
        self._write(
            {"type": "answer", "request_id": request_id, "allowed": body["allowed"], **said}
        )

    def _tell(self, event: FeedEvent) -> None:
        if event.name != "ping":
            self._write({"type": event.name, **event.data})

    def _write(self, facts: dict[str, Any]) -> None:
        if self._json_lines:
            show_json(facts, indent=None)
        elif facts["type"] == "answer":
            outcome = "allowed" if facts["allowed"] else "denied"
            show_line(f"{facts['request_id']}: {outcome if facts['counts'] else facts['message']}")


async def read_lines() -> AsyncGenerator[bytes, None]:
    """Yield the lines of standard input to the end. A pipe is read as data arrives.

    Any other kind (a file, /dev/null) cannot be waited for, and never blocks.
    """
    kind = os.fstat(sys.stdin.fileno()).st_mode
    if not stat.S_ISFIFO(kind) and not stat.S_ISSOCK(kind):
        for line in sys.stdin.buffer:
            yield line
        return
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        yield line
