"""The developer tools of a running Chromium, over their own connection: what WebDriver does not
reach, above all the service worker of a page.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

DEADLINE_SECONDS = 30.0


class DevTools:
    """A connection to the browser. `session` names a page or a worker, or the browser itself."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []

    async def send(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events on the way are kept in `events`."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(message | ({"sessionId": session} if session else {}))
        while True:
            answer = await self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    async def event(self, method: str, session: str) -> dict[str, Any]:
        """Return the first event `method` of the session, which may have come already."""
        while True:
            for event in self.events:
                if event.get("method") == method and event.get("sessionId") == session:
                    found: dict[str, Any] = event["params"]
                    self.events.remove(event)
                    return found
            self.events.append(await self._receive())

    async def attach(self, kind: str, address: str) -> str:
        """Return a session with the target of the `kind` (`page`, `service_worker`) whose address
        begins with `address`.
        """
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                found = await self.send("Target.getTargets")
                for target in found["targetInfos"]:
                    if target["type"] == kind and target["url"].startswith(address):
                        attached = await self.send(
                            "Target.attachToTarget", targetId=target["targetId"], flatten=True
                        )
                        return str(attached["sessionId"])

    async def run(self, session: str, script: str) -> Any:
        """Return what the expression `script` gives in the page or worker, once it has settled."""
        answer = await self.send(
            "Runtime.evaluate",
            session,
            expression=script,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def _receive(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            answer: dict[str, Any] = await self._socket.receive_json()
            return answer


@asynccontextmanager
async def developer_tools(address: str) -> AsyncIterator[DevTools]:
    """Connect to the browser whose developer tools listen at `address`, a host and port."""
    async with aiohttp.ClientSession() as client:
        async with client.get(f"http://{address}/json/version") as answer:
            url = (await answer.json())["webSocketDebuggerUrl"]
        async with client.ws_connect(url, max_msg_size=0) as socket:
            yield DevTools(socket)
