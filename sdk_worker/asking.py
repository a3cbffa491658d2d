"""How a `claude` of this worker asks for permission: over MCP at the gateway, with a token that says whose turn it is.

A process gets its token when it starts, long before it has a turn; for as long as it works on one, Redis says which.
At any other time the token is nobody's, and whatever is asked with it is denied.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from typing import Protocol

from sdk_worker.door import Conversation
from sdk_worker.launch import PermissionTool
from shared.channels import PROCESS_HEADER, AskingProcess, Turn, asking_process_key, encode
from shared.errors import BusUnavailable, NoWorker, UpstreamError
from shared.settings import Settings

SERVER = "confirmation"
TOOL = f"mcp__{SERVER}__check_permission"
TOKEN_SECONDS = 60.0
RENEW_SECONDS = 15.0
MARGIN_SECONDS = 60.0  # the prompt expires first, with a better message
LONGEST_SECONDS = 2_000_000.0  # what the program's timers can count, 23 days


class Store(Protocol):
    """The two verbs of the bus this module needs."""

    async def put(self, key: str, value: bytes, *, ttl: float) -> None: ...

    async def delete(self, key: str) -> None: ...


def gateway_address(settings: Settings) -> str:
    """Where the programs of this worker reach the gateway."""
    if settings.sdk.gateway_url:
        return settings.sdk.gateway_url.rstrip("/")
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(settings.server.host, settings.server.host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{settings.server.port}" if ":" in host else f"http://{host}:{settings.server.port}"


class Asking:
    """The processes of one worker, as askers."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._url = f"{gateway_address(settings)}/mcp"
        waits = settings.security.confirmation_timeout_seconds
        self._timeout_ms = round(1000 * min(waits + MARGIN_SECONDS if waits else LONGEST_SECONDS, LONGEST_SECONDS))
        self._cwd = str(settings.claude.code_options.cwd or os.getcwd())

    def tool(self) -> PermissionTool:
        """For one new process."""
        token = secrets.token_urlsafe(32)
        server = {"type": "http", "url": self._url, "headers": {PROCESS_HEADER: token}, "timeout": self._timeout_ms}
        return PermissionTool({SERVER: server}, TOOL, token)

    @contextlib.asynccontextmanager
    async def on_behalf(self, session: Conversation, turn: Turn) -> AsyncIterator[None]:
        """While inside, the process asks for this turn. Raises NoWorker when it could not ask, BusUnavailable when
        nobody would know for whom."""
        if not session.token:  # it has no tools of its own that could act
            yield
            return
        await self._connect(session)
        key = asking_process_key(session.token)
        cwd = turn.working_directory or self._cwd
        known = encode(AskingProcess(turn.caller, turn.session_id or turn.request_id, cwd))
        await self._store.put(key, known, ttl=TOKEN_SECONDS)
        renewing = asyncio.create_task(self._renew(key, known))
        try:
            yield
        finally:
            renewing.cancel()
            with contextlib.suppress(BusUnavailable):
                await self._store.delete(key)

    async def _connect(self, session: Conversation) -> None:
        """The program ends at the first question if it has lost the server it must ask."""
        told = await session.program.control("mcp_status")
        status = {server["name"]: server["status"] for server in told.get("mcpServers", [])}.get(SERVER)
        if status == "connected":
            return
        try:
            await session.program.control("mcp_reconnect", serverName=SERVER)
        except UpstreamError as error:
            raise NoWorker(f"Nobody can be asked for permission at {self._url}: {error.message}") from error

    async def _renew(self, key: str, known: bytes) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with contextlib.suppress(BusUnavailable):
                await self._store.put(key, known, ttl=TOKEN_SECONDS)


@contextlib.asynccontextmanager
async def on_nobodys_behalf(session: Conversation, turn: Turn) -> AsyncIterator[None]:
    """For programs that ask nobody."""
    del session, turn
    yield
