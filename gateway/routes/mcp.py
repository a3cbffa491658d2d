"""`/mcp`: the permission tool for any Claude Code on any machine, and the same as plain JSON.

The caller is never taken from the message, only from the token. A call without an answer is denied.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from gateway.proxy.active_requests import ActiveRequests
from gateway.proxy.relay import COMMENT_PING
from gateway.routes.permission_client import PermissionClient
from gateway.server.asgi import within
from gateway.server.bodies import read_json
from gateway.server.context import context_of
from gateway.server.live import EVENT_STREAM, JSON, WHITE_SPACE, Live
from shared.bus import Bus
from shared.bus.channels import PermissionDecision, PermissionRequest
from shared.permissions import mcp
from shared.permissions.asking import ask_permission_service
from shared.permissions.fair_use import InputsInFlight
from shared.runtime.errors import CCProxyError, ClientError
from shared.runtime.exact_json import dump_json

SESSION_HEADER = b"mcp-session-id"
MAX_MESSAGE_BYTES = 1024 * 1024  # four times the largest input shown to a person


class Check(BaseModel):
    """The body of `/mcp/permission/check`. `timeout_seconds` 0 waits for ever."""

    model_config = ConfigDict(extra="forbid")

    tool_name: str = Field(min_length=1)
    input: dict[str, Any]
    tool_use_id: str = ""
    session_id: str = ""
    working_directory: str = ""
    timeout_seconds: float | None = Field(None, ge=0, allow_inf_nan=False)


class PermissionTool:
    """The permission tool as served: finds the caller, asks the permission service, and keeps the
    waiting client's connection open.
    """

    def __init__(self, bus: Bus, active_requests: ActiveRequests) -> None:
        self._bus = bus
        self._active_requests = active_requests
        self._permissions = PermissionClient(bus)
        self._in_flight = InputsInFlight()

    async def ask(
        self, request: Request, message: mcp.Message, arguments: dict[str, Any]
    ) -> PermissionDecision:
        caller = context_of(request.scope).record.caller
        session = mcp_session(request)
        return await ask_permission_service(
            self._bus,
            self._in_flight,
            mcp.request_from(
                arguments,
                caller=caller,
                session_id=session,
                asker=call_name(caller, session, message.get("id")),
            ),
        )

    def call(self, request: Request, message: mcp.Message) -> Response:
        """Wait for the decision, in a stream with progress if the client reads streams."""
        try:
            arguments = mcp.read_call(message)
        except ClientError as error:
            return reply(mcp.error_reply(message, mcp.INVALID_PARAMS, error.message))
        streams = b"text/event-stream" in context_of(request.scope).headers.get(b"accept", b"")
        token = mcp.progress_token(message)
        count = itertools.count(1)

        def ping() -> bytes:
            if not streams:
                return WHITE_SPACE
            return (
                COMMENT_PING if token is None else mcp.mcp_event(mcp.progress(token, next(count)))
            )

        async def place() -> bytes:
            decision = await self.ask(request, message, arguments)
            return write(mcp.behavior(decision, arguments["input"]))

        def write(said: dict[str, Any]) -> bytes:
            result = mcp.tool_result(message, said)
            return mcp.mcp_event(result) if streams else dump_json(result)

        return self._waiting(
            place,
            ping,
            lambda error: write(mcp.not_placed(error)),
            EVENT_STREAM if streams else JSON,
        )

    def check(self, ask: PermissionRequest) -> Response:
        """Wait for the decision for a client without MCP."""

        def write(outcome: str, said: dict[str, Any]) -> bytes:
            return dump_json({"permission_id": ask.request_id, "outcome": outcome, **said})

        async def place() -> bytes:
            decision = await ask_permission_service(self._bus, self._in_flight, ask)
            return write(decision.outcome, mcp.behavior(decision, ask.input))

        return self._waiting(
            place, lambda: WHITE_SPACE, lambda error: write("unasked", mcp.not_placed(error)), JSON
        )

    def _waiting(
        self,
        place: Callable[[], Awaitable[bytes]],
        ping: Callable[[], bytes],
        refuse: Callable[[CCProxyError], bytes],
        media_type: str,
    ) -> Live:
        async def chunks() -> AsyncGenerator[bytes, None]:
            yield await place()

        return Live(self._active_requests, chunks(), ping=ping, last=refuse, media_type=media_type)

    async def note(self, request: Request, message: mcp.Message) -> Response:
        """Accept a message without an answer. A cancelled call is withdrawn, at whichever gateway
        the call waits.
        """
        if message.get("method") == "notifications/cancelled":
            caller = context_of(request.scope).record.caller
            cancelled = mcp.params_of(message).get("requestId")
            if name := call_name(caller, mcp_session(request), cancelled):
                await self._permissions.question("withdraw", caller, {"asker": name})
        return Response(status_code=202)


def mcp_session(request: Request) -> str:
    """Return the session named in the MCP client's header; an empty text without a header."""
    session: bytes = context_of(request.scope).headers.get(SESSION_HEADER, b"")
    return session.decode("latin-1")


def call_name(caller: str, session: str, message_id: Any) -> str:
    """Return a unique name for a call; an empty text when the client sent no session."""
    return f"{caller}/{session}:{dump_json(message_id).decode()}" if session else ""


def mcp_router(bus: Bus, active_requests: ActiveRequests, body_limit: int) -> APIRouter:
    routes = APIRouter(prefix="/mcp", tags=["permissions"])
    tool = PermissionTool(bus, active_requests)
    message_limit = min(body_limit, MAX_MESSAGE_BYTES)

    @routes.post("", response_model=None)
    async def speak(request: Request) -> Response:
        """Speak the Model Context Protocol over streamable HTTP; the only tool is
        `check_permission`.
        """
        body = within(await request.body(), message_limit)
        try:
            message = read_json(body)
        except ClientError as error:
            return reply(mcp.error_reply({}, mcp.PARSE_ERROR, error.message), 400)
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return reply(
                mcp.error_reply({}, mcp.INVALID_REQUEST, "one JSON-RPC 2.0 message is expected"),
                400,
            )
        if message.get("id") is None or "method" not in message:
            return await tool.note(request, message)
        if message["method"] == "tools/call":
            return tool.call(request, message)
        answered = reply(mcp.answer_message(message))
        if message["method"] == "initialize":
            answered.headers["mcp-session-id"] = uuid.uuid4().hex
        return answered

    @routes.post("/permission/check", response_model=None)
    async def check(request: Request, asked: Check) -> Response:
        """Ask whether a tool may act, and wait for the answer: `behavior` is `allow` or `deny`."""
        caller = context_of(request.scope).record.caller
        return tool.check(PermissionRequest(str(uuid.uuid4()), caller=caller, **asked.model_dump()))

    return routes


def reply(message: mcp.Message, status: int = 200) -> Response:
    return Response(dump_json(message), status, media_type=JSON)
