"""What agents ask: the MCP messages that a worker and the gateway serve, the bodies of hooks, and
the lines of a `claude` program.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

from gateway.proxy.active_requests import ActiveRequests, Timeouts
from gateway.routes.hooks import hooks_router
from gateway.routes.mcp import mcp_router
from gateway.server.bodies import read_json
from gateway.server.context import KEY, RequestContext
from sdk_worker.asking import Asker, hook_denial
from sdk_worker.claude.program import Line, Program
from sdk_worker.custom_tools import TOOL_USE_ID, CustomTools, ResultDesk
from sdk_worker.frames import Splice
from shared.bus.channels import (
    PERMISSION_REQUESTS,
    AccessRecord,
    CustomTool,
    ManagedTurn,
    PermissionDecision,
    PermissionRequest,
    Turn,
    decode_payload,
    encode_payload,
)
from shared.formats.messages.whole import WholeMessage
from shared.formats.sse import events_in
from shared.permissions.excerpts import refused_excerpt
from shared.permissions.fair_use import request_problem
from shared.permissions.hook_fields import links_of, tool_input
from shared.runtime.errors import CCProxyError, ClientError, UpstreamError
from shared.runtime.exact_json import dump_json, load_json
from tests.fuzz.targets.rules import PROTECTED, RULES, START, decide, read_rule
from tests.fuzz.targets.target import Target, chosen, hold, run, seed

IN_FORCE = [read_rule(shape) for shape in RULES]
SESSION = ManagedTurn(["Bash"], ["Bash"], custom_tools=[CustomTool("weather", "w", {})])
MACHINE = "here"
LIMIT = 1024 * 1024
ACCEPT = (b"application/json", b"application/json, text/event-stream")


def decision_on(request: PermissionRequest, number: int) -> PermissionDecision:
    """Return a decision after all that the permission service does with the request."""
    if problem := request_problem(request):
        request = refused_excerpt(request, problem)
    travelled = decode_payload(PermissionRequest, encode_payload(request))
    decide(travelled, IN_FORCE)
    outcome: Any = ("allowed", "denied", "expired", "undecided")[number % 4]
    changed = {"command": "ls"} if number % 8 == 0 else None
    return PermissionDecision(request.request_id, outcome, updated_input=changed)


# --- the worker ---


async def ask_of(request: PermissionRequest, on_waiting: Any = None) -> PermissionDecision:
    if on_waiting is not None and request.announces:
        on_waiting()
    return decision_on(request, len(request.tool_use_id))


def speak_to_worker(number: int, data: bytes) -> None:
    message = line_in(data)
    if message is None:
        return
    asker = Asker(ask_of, START, PROTECTED, bypass=number % 5 == 0)
    tools = CustomTools(SESSION.custom_tools, ResultDesk("worker:w:1-a", 0.0))
    turn = Turn("r1", {}, caller="alice", managed=SESSION if number % 2 else None)

    async def answers() -> list[Line]:
        if number % 3 == 0:
            return [await asker.answer(message), await tools.answer(message)]
        with asker.on_behalf(turn), tools.on_behalf(turn, lambda _: None):
            return [await asker.answer(message), await tools.answer(message)]

    for answer in run(answers()):
        hold(answer.get("jsonrpc") == "2.0" and bool(dump_json(answer)), "an answer is JSON-RPC")


def call_hook_of_worker(number: int, data: bytes) -> None:
    call = line_in(data)
    if call is None:
        return
    asker = Asker(ask_of, START, PROTECTED, bypass=number % 5 == 0)
    turn = Turn("r1", {}, caller="alice", managed=SESSION if number % 2 else None)

    async def answer() -> Line:
        with asker.on_behalf(turn):
            return await asker.before_tool(call)

    said = run(answer())
    hold(bool(dump_json(said)), "a hook's answer can be written")
    hold(said == {} or set(said) == set(hook_denial("")), "a hook allows, denies or says nothing")


def line_in(data: bytes) -> Line | None:
    try:
        line = load_json(data)
    except json.JSONDecodeError:
        return None
    return line if isinstance(line, dict) else None


# --- the lines of a program ---


def hear_program(number: int, data: bytes) -> None:
    """Check the lines of one run: frames of a Messages stream, or a typed error."""
    mode: Any = ("forward", "formatted", "ignore")[number % 3]
    splice = Splice(mode, pretty=number % 2 == 0, client_tools=number % 5 == 0)
    frames = b""
    for raw in data.split(b"\n"):
        line = line_in(raw)
        if line is None:
            continue
        try:
            frames += splice.feed(line)
        except CCProxyError:
            return
        if splice.finished:
            break
    whole = WholeMessage()
    try:
        for event in events_in(frames):
            whole.feed(load_json(event.data))
    except UpstreamError:
        return
    hold(not splice.finished or whole.stopped, "a finished run is a finished message")


def route_lines(number: int, data: bytes) -> None:
    """Check that a program's lines reach somebody, or end the program as lines that no one reads
    do.
    """

    async def hear() -> None:
        program = Program([], env={}, cwd=None)

        async def write(_: bytes) -> None: ...

        async def answer(message: Line) -> Line | None:
            return {"heard": message} if number % 2 else None

        program._write = write  # type: ignore[method-assign]
        program.on_mcp["server"] = answer
        program.on_hook = answer if number % 3 else None
        for raw in data.split(b"\n"):
            try:
                await program._route(raw)
            except ValueError:
                return
        tasks = list(program._answers.values())
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                hold(task.exception() is None, f"an answer is sent: {task.exception()!r}")

    run(hear())


# --- the gateway ---


class AnsweringBus:
    """A bus with a permission service that decides at once."""

    def __init__(self) -> None:
        self.number = 0

    def call(self, channel: Any, payload: Any) -> Answered:
        if channel is PERMISSION_REQUESTS:
            return Answered(encode_payload(decision_on(payload, self.number)))
        encode_payload(payload)
        return Answered(b"{}")


class Answered:
    worker = "desk"

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def __aenter__(self) -> Answered:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._answer


BUS = AnsweringBus()


def served() -> FastAPI:
    app = FastAPI()
    active = ActiveRequests(Timeouts())
    bus: Any = BUS
    app.include_router(mcp_router(bus, active, LIMIT))
    app.include_router(hooks_router(bus, active, LIMIT, MACHINE))
    return app


APP = served()


def post(path: str, headers: dict[bytes, bytes], body: bytes) -> tuple[int, bytes]:
    """Return the status and the body of the answer to a POST; 400 for a typed error."""
    context: Any = RequestContext(
        AccessRecord("r1", 0.0, method="POST", caller="alice"),
        headers,
        *[None] * 3,  # type: ignore[arg-type]
    )
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(headers.items()),
        "http_version": "1.1",
        "scheme": "http",
        KEY: context,
    }
    sent: list[Any] = []
    whole = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if whole:
            return whole.pop()
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    try:
        run(APP(scope, receive, send))
    except (CCProxyError, RequestValidationError):
        return 400, b""
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def post_message(number: int, data: bytes) -> None:
    BUS.number = number
    headers = {b"content-type": b"application/json", b"accept": ACCEPT[number % 2]}
    if number % 3:
        headers[b"mcp-session-id"] = b"s1"
    status, body = post("/mcp", headers, data)
    hold(status in {200, 202, 400}, "a message is answered, noted or refused")
    hold(status != 200 or b"jsonrpc" in body, "an answer is JSON-RPC")


def is_read_first(data: bytes) -> bool:
    """Return True for a body that the gateway's first look lets through."""
    try:
        read_json(data)
    except ClientError:
        return False
    return True


def post_check(number: int, data: bytes) -> None:
    BUS.number = number
    if is_read_first(data):
        status, _ = post("/mcp/permission/check", {b"content-type": b"application/json"}, data)
        hold(status in {200, 400, 422}, "a check is answered or refused")


def post_hook(number: int, data: bytes) -> None:
    BUS.number = number
    if not is_read_first(data):
        return
    headers = {b"content-type": b"application/json", b"x-ccproxy-agent": b"codex"}
    if number % 2:
        headers[b"x-ccproxy-machine"] = MACHINE.encode()
    status, body = post("/hooks/permission-request", headers, data)
    hold(status in {200, 400}, "a hook is answered or refused")
    hold(status != 200 or isinstance(load_json(body), dict), "a hook's answer is an object")
    post("/hooks/notice", headers, data)
    given = load_json(data)
    if isinstance(given, dict) and isinstance(given.get("tool_name"), str):
        links_of(given["tool_name"], tool_input(given), str(given.get("cwd") or ""))


# --- seeds ---


def call(**arguments: Any) -> Line:
    asked = {"tool_name": "Bash", "input": {"command": "ls"}, "tool_use_id": "t1", **arguments}
    params = {"name": "check_permission", "arguments": asked, "_meta": {"progressToken": 7}}
    return {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params}


WEATHER: Line = {
    "jsonrpc": "2.0",
    "id": 4,
    "method": "tools/call",
    "params": {"name": "weather", "arguments": {}, "_meta": {TOOL_USE_ID: "t2"}},
}
MESSAGES: list[Line] = [
    call(),
    WEATHER,
    {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-06"}},
    {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}},
]
PRE_TOOL: Line = {
    "hook_event_name": "PreToolUse",
    "tool_name": "Edit",
    "tool_input": {"file_path": "a.py", "old_string": "a", "new_string": "b"},
    "tool_use_id": "t3",
    "cwd": START,
    "agent_type": "reviewer",
}
CHECK: Line = {
    "tool_name": "Read",
    "input": {"file_path": "a.py"},
    "tool_use_id": "t",
    "session_id": "s",
    "working_directory": START,
    "timeout_seconds": 5,
}
HOOKS: list[Line] = [
    {
        "session_id": "s1",
        "cwd": "/srv",
        "hook_event_name": "PermissionRequest",
        "tool_name": "Bash",
        "tool_input": {"command": "cat /srv/a.py", "description": "d"},
        "permission_suggestions": [{"type": "setMode", "mode": "acceptEdits"}],
        "ccproxy": {"links": {"/srv/a.py": "/srv/b.py"}},
        "agent_id": "a",
    },
    {
        "turn_id": "t",
        "hook_event_name": "PermissionRequest",
        "tool_name": "apply_patch",
        "tool_input": {"command": "*** Begin Patch\n*** Update File: a.py\n"},
    },
    {"hook_event_name": "Notification", "message": "It waits.", "session_id": "s1"},
    {"hook_event_name": "Stop", "session_id": "s1", "cwd": "/srv"},
]
USAGE = {"input_tokens": 10, "cache_read_input_tokens": 0, "output_tokens": 1}
INNER = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "usage": USAGE}
RUN: list[Line] = [
    {"type": "system", "subtype": "init", "session_id": "s", "tools": ["Bash"]},
    {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed"}},
    *(
        {"type": "stream_event", "event": event, "parent_tool_use_id": None}
        for event in (
            {"type": "message_start", "message": INNER | {"content": []}},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": "x"},
            },
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": USAGE},
            {"type": "message_stop"},
        )
    ),
    {
        "type": "assistant",
        "message": INNER
        | {
            "id": "m2",
            "content": [
                {"type": "thinking", "thinking": "t", "signature": "s"},
                {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
                {"type": "text", "text": "done"},
            ],
        },
    },
    {
        "type": "user",
        "message": {"content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a"}]},
    },
    {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "num_turns": 2,
        "result": "done",
        "usage": USAGE,
    },
]
FAILED: list[Line] = [
    {"type": "system", "subtype": "api_retry", "attempt": 1, "retry_delay_ms": 900, "error": 429},
    {"type": "assistant", "message": {"model": "<synthetic>"}, "error": "rate_limit"},
    {"type": "result", "subtype": "error_during_execution", "is_error": True, "result": "no"},
]
CONTROL: list[Line] = [
    {"type": "control_response", "response": {"request_id": "x", "subtype": "success"}},
    {
        "type": "control_request",
        "request_id": "1",
        "request": {"subtype": "mcp_message", "server_name": "server", "message": call()},
    },
    {
        "type": "control_request",
        "request_id": "2",
        "request": {"subtype": "hook_callback", "input": PRE_TOOL},
    },
    {"type": "control_cancel_request", "request_id": "1"},
    {"type": "transcript_mirror", "entries": []},
]
KINDS: tuple[Callable[[int, bytes], None], ...] = (
    speak_to_worker,
    call_hook_of_worker,
    post_message,
    post_check,
    post_hook,
)
PROGRAM_KINDS: tuple[Callable[[int, bytes], None], ...] = (hear_program, route_lines)


def check(data: bytes) -> None:
    kind, number, body = chosen(data, KINDS)
    kind(number, body)


def seeds() -> list[bytes]:
    return [
        *(seed(0, message) for message in MESSAGES),
        seed(1, PRE_TOOL),
        *(seed(2, message, number) for message in MESSAGES for number in (6, 7)),
        seed(3, CHECK),
        *(seed(4, hook) for hook in HOOKS),
    ]


def check_program(data: bytes) -> None:
    kind, number, body = chosen(data, PROGRAM_KINDS)
    kind(number, body)


def program_seeds() -> list[bytes]:
    def lines(of: list[Line]) -> bytes:
        return b"\n".join(json.dumps(line).encode() for line in of)

    return [
        *(seed(0, lines(RUN), number) for number in (0, 1, 2, 5)),
        seed(0, lines(FAILED)),
        *(seed(1, line) for line in CONTROL),
    ]


ASKING = Target("asking", "MCP messages and the bodies of hooks", check, seeds)
PROGRAM = Target("program", "the lines of a claude program", check_program, program_seeds, "lines")
