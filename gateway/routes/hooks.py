"""`/hooks`: the permission hooks of Claude Code and Codex, and their news.

A hook is answered at once when a rule decides or the owner is at the desk, and else when a person
has decided. The caller is never taken from the body, only from the token. Whatever goes wrong is an
answer without a decision: the agent asks in its own terminal, and no failure allows anything.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.proxy.active_requests import ActiveRequests
from gateway.routes.permission_client import PermissionClient
from gateway.server.asgi import within
from gateway.server.bodies import read_json
from gateway.server.context import context_of
from gateway.server.live import JSON, WHITE_SPACE, Live
from shared.bus import Bus
from shared.bus.channels import PermissionRequest
from shared.permissions import hooks
from shared.permissions.asking import ask_permission_service
from shared.permissions.fair_use import InputsInFlight
from shared.permissions.hook_fields import links_of
from shared.runtime.errors import BusUnavailable, CCProxyError, NoWorker, WorkerLost
from shared.runtime.exact_json import dump_json

MACHINE_HEADER = b"x-ccproxy-machine"
PROGRAM_HEADER = b"x-ccproxy-agent"
MAX_HOOK_BYTES = 1024 * 1024  # four times the largest input shown to a person
# The agent waits for the answer to its news; a service that is away must not hold it up.
NOTICE_SECONDS = 2.0
NOT_ASKED = "ccproxy could not ask anybody, so decide here: {why}"


class HookRoutes:
    """The hooks as served. `machine` is the name of this machine: only a hook that names it has its
    links looked up here.
    """

    def __init__(self, bus: Bus, active_requests: ActiveRequests, machine: str) -> None:
        self._bus = bus
        self._active_requests = active_requests
        self._machine = machine
        self._client = PermissionClient(bus)
        self._in_flight = InputsInFlight()

    async def permission(self, request: Request, body: Any) -> Response:
        """Wait for the decision on the request in `body`. Raises ClientError."""
        sender = sender_of(request)
        links = hooks.reported_links(body)
        ask = hooks.read_permission_hook(body, sender, links)
        if not links and sender.machine == self._machine:
            # The disk may be slow, and other requests must not wait for it.
            links = await asyncio.to_thread(
                links_of, ask.tool_name, ask.input, ask.working_directory
            )
            ask.reach = hooks.reported_reach(ask.tool_name, ask.input, ask.working_directory, links)
        if ask.reach is not None:
            ask.reach.elsewhere = sender.machine != self._machine
        return Live(
            self._active_requests,
            self._decided(ask),
            ping=lambda: WHITE_SPACE,
            last=lambda error: dump_json(no_decision(error)),
            media_type=JSON,
        )

    async def _decided(self, ask: PermissionRequest) -> AsyncGenerator[bytes, None]:
        decision = await ask_permission_service(self._bus, self._in_flight, ask)
        yield dump_json(hooks.hook_answer(decision, ask.input))

    async def note(self, request: Request, body: Any) -> dict[str, Any]:
        """Withdraw what the agent in `body` waits for no longer, and pass on its news. Raises
        ClientError.
        """
        sender = sender_of(request)
        asker = hooks.ended_asker(body, sender.caller)
        notice = hooks.read_notice(body, sender)
        try:
            async with asyncio.timeout(NOTICE_SECONDS):
                if asker:
                    await self._client.question("withdraw", sender.caller, {"asker": asker})
                if notice is not None:
                    await self._client.question("notice", sender.caller, asdict(notice))
        except (TimeoutError, NoWorker, WorkerLost, BusUnavailable):
            return {}  # news that nobody could hear
        return {}

    async def presence(self, request: Request) -> bytes:
        """Return the owner's presence as JSON. Raises NoWorker, BusUnavailable."""
        return await self._client.question("presence", sender_of(request).caller, {})


def sender_of(request: Request) -> hooks.HookSender:
    """Return the sender of a hook: the token's name, and the names in the headers."""
    context = context_of(request.scope)

    def named(header: bytes) -> str:
        given: bytes = context.headers.get(header, b"")
        return given.decode("latin-1").strip()[: hooks.MAX_NAME]

    return hooks.HookSender(context.record.caller, named(PROGRAM_HEADER), named(MACHINE_HEADER))


def no_decision(error: CCProxyError) -> dict[str, Any]:
    """Return an answer without a decision that tells the agent's user about `error`."""
    return {"systemMessage": NOT_ASKED.format(why=error.message)}


def hooks_router(
    bus: Bus, active_requests: ActiveRequests, body_limit: int, machine: str = ""
) -> APIRouter:
    routes = APIRouter(prefix="/hooks", tags=["permissions"])
    hook_routes = HookRoutes(bus, active_requests, machine or socket.gethostname())
    hook_limit = min(body_limit, MAX_HOOK_BYTES)

    @routes.get("", response_model=None)
    async def presence(request: Request) -> Response:
        """Return what hooks meet now: `away`, `until`, `window`, and when a person is asked."""
        return Response(await hook_routes.presence(request), media_type=JSON)

    @routes.post("/permission-request", response_model=None)
    async def permission_request(request: Request) -> Response:
        """Decide a `PermissionRequest` hook of Claude Code or Codex, as the agent sends it.

        `{}` is no decision: the agent asks in its own terminal.
        """
        body = read_json(within(await request.body(), hook_limit))
        return await hook_routes.permission(request, body)

    @routes.post("/notice", response_model=None)
    async def notice(request: Request) -> dict[str, Any]:
        """Take the news of an agent: `Notification` and `Stop` are told to watchers, `Stop` and
        `PostToolBatch` withdraw what the agent no longer asks.
        """
        # The results of tools are in here, which may be long.
        body = read_json(within(await request.body(), body_limit))
        return await hook_routes.note(request, body)

    return routes
