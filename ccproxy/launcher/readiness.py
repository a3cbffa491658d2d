"""The readiness of the stack, asked of the gateway and turned into lines for a person.

A new connection for every request, without an HTTP library: the launcher starts in a fraction of a
library's import time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ccproxy.cli.console import say
from shared.settings.tree import Settings

ANSWER_SECONDS = 5.0
POLL_SECONDS = 0.1
QUIET_SECONDS = 1.0  # a start that takes no longer needs no words
TIMEOUT_SECONDS = 20.0
NAMES = {"bus": "Redis"}  # for a person; the health itself names the room that Redis has here


@dataclass(frozen=True, slots=True)
class Health:
    """An answer of `/health` or `/health/ready`. `checks` is a list of (name, status, output),
    empty without the right token.

    `answered` is False when the gateway could not be asked.
    """

    ready: bool
    checks: list[tuple[str, str, str]] = field(default_factory=list)
    answered: bool = True

    def failing(self) -> str:
        return ", ".join(name for name, status, _ in self.checks if status == "fail")


async def wait_until_ready(
    host: str, port: int, settings: Settings, *, timeout: float = TIMEOUT_SECONDS
) -> Health:
    """The whole picture, once everything is ready or `timeout` has passed; says what is missing on
    the way.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    said = ""
    while not (health := await get_health(host, port, "/health/ready", settings)).ready:
        waiting = f"Starting; waiting for {health.failing() or 'the gateway'}."
        elapsed = loop.time() - began
        # The gateway answers: the rest may follow, or has said why not
        if elapsed >= timeout and health.answered:
            break
        if elapsed >= QUIET_SECONDS and waiting != said:
            say(waiting)
            said = waiting
        await asyncio.sleep(POLL_SECONDS)
    # Asked for again: `/health/ready` names only what is needed, `/health` everything.
    return await get_health(host, port, "/health", settings)


async def get_health(host: str, port: int, path: str, settings: Settings) -> Health:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            status, body = await get(host, port, path, settings)
            return Health(status == 200, list(checks_of(json.loads(body))))
    except (OSError, ValueError, TimeoutError, EOFError):
        return Health(ready=False, answered=False)


async def get(host: str, port: int, path: str, settings: Settings) -> tuple[int, bytes]:
    """Return the status and the body of a GET on a new connection, with the stack's token."""
    token = settings.security.auth_token
    key = f"x-api-key: {token.get_secret_value()}\r\n" if token else ""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        head = f"GET {path} HTTP/1.0\r\nhost: localhost\r\naccept: application/json\r\n{key}\r\n"
        writer.write(head.encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        return int(answer.split(b" ", 2)[1]), await reader.read()
    finally:
        writer.close()


def checks_of(answer: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield name, status and output of every check of a health: the credential of a route under the
    name of the route, the bus under the name of its program.
    """
    for name, found in answer.get("checks", {}).items():
        for check in found if isinstance(found, list) else [found]:
            yield (
                str(check.get("route") or NAMES.get(name, name)),
                str(check.get("status", "")),
                str(check.get("output", "")),
            )
