"""The endpoints under `/v1` and the account page, from the raw request to the last byte of the
reply.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import orjson

from simulator.anthropic import fields
from simulator.anthropic.access import (
    VERSION_2026,
    AnthropicCaller,
    AnthropicLimits,
    admit,
    admit_account,
)
from simulator.anthropic.batches import Batches
from simulator.anthropic.diagnoses import Diagnoses
from simulator.anthropic.files import Files
from simulator.anthropic.models import find_model, list_models
from simulator.anthropic.problem import AnthropicProblem, refuse
from simulator.anthropic.request import AnthropicRequest, merge_turns
from simulator.anthropic.rules import enforce
from simulator.anthropic.scenarios import output_size, scripted_message
from simulator.anthropic.skills import Skills
from simulator.anthropic.stream import message_frames, stream_event
from simulator.anthropic.threads import Threads
from simulator.anthropic.usage import AnthropicPromptCache, InputUsage
from simulator.clock import SimulatedClock
from simulator.exchange import SimulatedExchange
from simulator.playback import play_stream, play_whole, stall
from simulator.script import ScriptedReply, compact, text_tokens
from simulator.shape import Check, Misfit

MAX_BODY_BYTES = 32 * 1024 * 1024
GZIP_FROM_BYTES = 1024
# What the service's front adds to everything; a proxy has to keep the cookie to itself.
FRONT = {
    "server": "cloudflare",
    "set-cookie": "_cfuvid=simulated; HttpOnly; Secure; Path=/",
    "anthropic-organization-id": "00000000-0000-4000-8000-000000000001",
}
JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
PROFILE = {
    "account": {
        "uuid": "00000000-0000-4000-8000-000000000002",
        "full_name": "Simulated Owner",
        "display_name": "Owner",
        "email": "owner@example.com",
        "has_claude_max": True,
        "has_claude_pro": False,
    },
    "organization": {
        "uuid": FRONT["anthropic-organization-id"],
        "name": "Simulated Organization",
        "organization_type": "claude_max",
        "rate_limit_tier": "default_claude_max_20x",
    },
}


class Anthropic:
    """The simulated service: endpoints, prompt cache and counters."""

    def __init__(self, clock: SimulatedClock | None = None) -> None:
        self._cache = AnthropicPromptCache(clock)
        self._limits = AnthropicLimits()
        self._threads = Threads()
        self._diagnoses = Diagnoses()
        self._endpoints: dict[tuple[str, str], Callable[[SimulatedExchange], Awaitable[None]]] = {
            ("POST", "/v1/messages"): self._create,
            ("POST", "/v1/messages/count_tokens"): self._count,
            ("GET", "/v1/models"): self._models,
            ("GET", "/api/oauth/profile"): self._profile,
            **{
                (verb, path): self._hello
                for verb in ("GET", "HEAD")
                for path in ("/", "/api/hello")
            },
        }
        kept: tuple[Batches | Files | Skills, ...] = (Batches(self._complete), Files(), Skills())
        self._kept = [
            (method, re.compile(re.sub(r"{\w+}", "([^/]+)", path)), handler)
            for resource in kept
            for (method, path), handler in resource.routes.items()
        ]

    async def __call__(self, exchange: SimulatedExchange) -> None:
        exchange.front = FRONT | {"request-id": exchange.request_id}
        try:
            await self._find(exchange)(exchange)
        except AnthropicProblem as problem:
            await exchange.send(
                problem.status, problem.envelope(exchange.request_id), JSON | problem.headers
            )

    def _find(self, exchange: SimulatedExchange) -> Callable[[SimulatedExchange], Awaitable[None]]:
        method = exchange.record.method
        path = exchange.path
        if (method, path) in self._endpoints:
            return self._endpoints[method, path]
        if method == "GET" and path.startswith("/v1/models/"):
            return self._model
        # A known path with another method is a 405, an unknown path a 404.
        known = any(path == other for _, other in self._endpoints)
        for verb, pattern, handler in self._kept:
            if found := pattern.fullmatch(path):
                if verb == method:
                    return lambda asked: handler(asked, *found.groups())
                known = True
        raise (
            AnthropicProblem(405, "Method Not Allowed")
            if known
            else AnthropicProblem(404, "Not Found")
        )

    async def _hello(self, exchange: SimulatedExchange) -> None:
        await exchange.send(200, b'{"message":"hello"}', JSON)

    async def _profile(self, exchange: SimulatedExchange) -> None:
        admit_account(exchange.headers)
        await exchange.send(200, orjson.dumps(PROFILE), JSON)

    async def _models(self, exchange: SimulatedExchange) -> None:
        admit(exchange.headers)
        query = parse_qs(exchange.query)
        limit = query.get("limit", ["20"])[0]
        if not limit.isdigit() or not 1 <= int(limit) <= 1000:
            refuse("limit: Input should be between 1 and 1000")
        page = list_models(
            limit=int(limit),
            after_id=query.get("after_id", [None])[0],
            before_id=query.get("before_id", [None])[0],
            lifecycle=query.get("lifecycle", []) + query.get("lifecycle[]", []),
        )
        await exchange.send(200, orjson.dumps(page), JSON)

    async def _model(self, exchange: SimulatedExchange) -> None:
        admit(exchange.headers)
        model = find_model(exchange.path.removeprefix("/v1/models/"))
        await exchange.send(200, orjson.dumps(model.describe()), JSON)

    async def _count(self, exchange: SimulatedExchange) -> None:
        caller = admit(exchange.headers)
        request = read_message_request(exchange, caller, fields.COUNT_TOKENS, self._threads)[0]
        total = AnthropicPromptCache().measure(request.body, "").total
        await exchange.send(200, orjson.dumps({"input_tokens": total}), JSON)

    async def _create(self, exchange: SimulatedExchange) -> None:
        caller = admit(exchange.headers)
        shape = fields.MESSAGES_2026 if caller.version == VERSION_2026 else fields.MESSAGES_2023
        request, raw = read_message_request(exchange, caller, shape, self._threads)
        exchange.record.model = request.body["model"]
        exchange.record.credential = "login" if caller.oauth else "api_key"
        salt = exchange.request_id.removeprefix("req_")
        try:
            reply = scripted_message(request, raw, salt, exchange.record.credential)
        except AnthropicProblem as problem:
            # A rate limit tells the windows that are used up, as the real refusal does.
            if wait := problem.headers.get("retry-after"):
                exhausted_for = int(wait) if problem.exhausts else None
                problem.headers |= self._limits.headers(caller, exhausted_for=exhausted_for)
            raise
        # Measured after the rules and the scenario: a prompt that they refuse is not cached.
        used = self._cache.measure(request.body, caller.credential + request.model.id)
        if used.total > request.model.line.max_input_tokens:
            refuse(
                f"prompt is too long: {used.total} tokens > {request.model.line.max_input_tokens} "
                "maximum"
            )
        message = compose_message(request, reply, used)
        if told := self._diagnoses.compare(request.body, caller.credential, message["id"]):
            message["diagnostics"] = told.shown
        self._threads.keep(request.body, message)
        self._limits.spend(caller, used.total, message["usage"]["output_tokens"])
        await play(
            exchange,
            reply,
            message,
            self._limits.headers(caller),
            stream=bool(request.body.get("stream")),
        )

    def _complete(self, params: dict[str, Any], caller: AnthropicCaller) -> dict[str, Any]:
        """Return the message for a request of a batch. Raises AnthropicProblem."""
        if params.get("stream"):
            refuse("stream: streaming is not supported in batches")
        raw = orjson.dumps(params)
        shape = fields.MESSAGES_2026 if caller.version == VERSION_2026 else fields.MESSAGES_2023
        request = check_messages_request(params, caller, shape, self._threads)
        reply = scripted_message(request, raw, uuid4().hex[:24])
        # A cache of its own for each: requests of a batch share nothing.
        return compose_message(request, reply, AnthropicPromptCache().measure(request.body, ""))


def read_message_request(
    exchange: SimulatedExchange, caller: AnthropicCaller, shape: Check, threads: Threads
) -> tuple[AnthropicRequest, bytes]:
    """Return the checked request, completed by the thread of the request, and the decoded body."""
    raw = decode_messages_body(
        exchange.record.body, exchange.headers.get("content-encoding", "identity")
    )
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        refuse(f"The request body is not valid JSON: {error}")
    return check_messages_request(body, caller, shape, threads), raw


def check_messages_request(
    body: Any, caller: AnthropicCaller, shape: Check, threads: Threads
) -> AnthropicRequest:
    """Return the request in `body`, with the content of the request's thread. Raises
    AnthropicProblem in the service's words.
    """
    try:
        shape(body, "", caller.betas)
    except Misfit as misfit:
        refuse(str(misfit))
    # After the check of the shape and before the rules: the rules are about the whole conversation,
    # which only the thread knows.
    body = threads.resume(body)
    turns = merge_turns(body["messages"])
    request = AnthropicRequest(body, find_model(body["model"]), caller.version, caller.betas, turns)
    enforce(request)
    return request


def decode_messages_body(body: bytes, encoding: str) -> bytes:
    """Return the decompressed body. Raises the service's 400 or 413 for a missing or too large
    body.
    """
    if len(body) > MAX_BODY_BYTES:
        raise AnthropicProblem(413, "Request exceeds the maximum size")
    if encoding == "identity":
        return body
    if encoding not in ("gzip", "deflate"):
        raise AnthropicProblem(
            400,
            f"Unsupported content encoding: {encoding}",
            code="request_body_encoding_unsupported",
        )
    # Either of the two formats, told by the header of the data. Unpacked only a little beyond the
    # limit: a small body may unpack to gigabytes.
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        data = unpacker.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        data = b""
    if len(data) > MAX_BODY_BYTES:
        raise AnthropicProblem(
            413, "Request exceeds the maximum size", code="request_body_too_large_after_decoding"
        )
    # The end of the data is part of the format; without it the body was cut.
    if not unpacker.eof:
        raise AnthropicProblem(
            400, "The request body cannot be decoded", code="request_body_encoding_invalid"
        )
    return data


def compose_message(
    request: AnthropicRequest, reply: ScriptedReply, used: InputUsage
) -> dict[str, Any]:
    """The whole message."""
    sizes = [(block["type"], text_tokens(output_size(block))) for block in reply.parts]
    ended = "tool_use" if any(kind == "tool_use" for kind, _ in sizes) else "end_turn"
    usage: dict[str, Any] = used.as_dict() | {"output_tokens": sum(size for _, size in sizes)}
    if thought := sum(size for kind, size in sizes if kind == "thinking"):
        usage["output_tokens_details"] = {"thinking_tokens": thought}
    if searches := sum(kind == "server_tool_use" for kind, _ in sizes):
        usage["server_tool_use"] = {"web_search_requests": searches, "web_fetch_requests": 0}
    if speed := request.body.get("speed"):
        usage["speed"] = speed
    message = {
        "id": f"msg_{uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": request.model.id,
        "content": reply.parts,
        "stop_reason": reply.stop or ended,
        "stop_sequence": reply.stop_sequence,
        "stop_details": reply.stop_details,
        "usage": {**usage, "service_tier": "standard"},
    }
    if "context_management" in request.body:
        message["context_management"] = {"applied_edits": []}
    return message


async def play(
    exchange: SimulatedExchange,
    reply: ScriptedReply,
    message: dict[str, Any],
    headers: dict[str, str],
    *,
    stream: bool,
) -> None:
    """Send the reply, and note the costs reported to the client."""
    # Before the headers: the client hears nothing at all.
    if reply.fault == "hang":
        await stall(reply)
    if stream:
        await exchange.open(200, SSE | headers)
        exchange.record.usage = message["usage"] | {"output_tokens": 1}  # as its first event tells
        error = {"details": None, "type": "overloaded_error", "message": "Overloaded"}
        failure = partial(stream_event, "error", error=error, request_id=exchange.request_id)
        done = await play_stream(exchange, reply, message_frames(message, reply), failure)
    else:
        data = compact(message).encode()
        headers = JSON | headers
        if len(data) >= GZIP_FROM_BYTES and "gzip" in exchange.headers.get("accept-encoding", ""):
            data = gzip.compress(data, compresslevel=1, mtime=0)
            headers = headers | {"content-encoding": "gzip"}
        # A whole reply that fails has not begun, so it is a status and not an event.
        if reply.fails:
            raise AnthropicProblem(529, "Overloaded", headers=headers | {"x-should-retry": "true"})
        done = await play_whole(exchange, reply, data, headers, message_frames(message, reply))
    # Only a client that has the whole reply was told the whole usage.
    if done:
        exchange.record.usage = message["usage"]
