"""The endpoints of the backend and of the public interface, from the raw request to the last byte
of the reply.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import orjson

from simulator.clock import SimulatedClock
from simulator.codex import images
from simulator.codex.access import CodexCaller, CodexLimits, admit_backend, admit_public
from simulator.codex.fields import in_their_words
from simulator.codex.models import list_codex_models, list_public
from simulator.codex.problem import JSON, CodexProblem, backend_error, detail, refuse_parameter
from simulator.codex.rules import CodexRequest, check_responses_request
from simulator.codex.scenarios import scripted_response
from simulator.codex.stream import Events, failure, response_frames
from simulator.codex.usage import CodexPromptCache, usage_of
from simulator.exchange import SimulatedExchange
from simulator.playback import play_stream, play_whole, stall
from simulator.script import ScriptedReply
from simulator.shape import Check, Misfit

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_BODY_BYTES = 32 * 1024 * 1024
BACKEND = "/backend-api/"
PUBLIC = "/v1/responses"
FRONT = {"server": "cloudflare", "set-cookie": "__cf_bm=simulated; HttpOnly; Secure; Path=/"}
CUT = {"max_tokens": "max_output_tokens"}
SSE = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


class SimulatedCodex:
    """The backend and the public interface, with one memory of prompts. A stream of the backend has
    no content type, as in reality.
    """

    def __init__(self, clock: SimulatedClock | None = None) -> None:
        self._cache = CodexPromptCache(clock)
        self._limits = CodexLimits()
        self._endpoints: dict[tuple[str, str], Callable[[SimulatedExchange], Awaitable[None]]] = {
            ("POST", f"{BACKEND}codex/responses"): self._backend,
            ("GET", f"{BACKEND}codex/models"): self._models,
            ("GET", f"{BACKEND}wham/usage"): self._usage,
            ("POST", PUBLIC): self._public,
            ("GET", "/v1/models"): self._public_models,
            ("POST", f"{BACKEND}codex/images/generations"): partial(
                self._images, shape=images.GENERATION
            ),
            ("POST", f"{BACKEND}codex/images/edits"): partial(self._images, shape=images.EDIT),
        }

    async def __call__(self, exchange: SimulatedExchange) -> None:
        exchange.front = FRONT | {"x-request-id": exchange.request_id}
        try:
            endpoint = self._endpoints.get((exchange.record.method, exchange.path))
            if endpoint is None:
                raise detail("Not Found", 404)
            await endpoint(exchange)
        except CodexProblem as problem:
            await exchange.send(problem.status, problem.body, problem.headers)

    async def _backend(self, exchange: SimulatedExchange) -> None:
        caller = admit_backend(exchange.headers)
        # Spent before the request is looked at: a refused request has cost its caller a request,
        # too.
        self._limits.spend(caller)
        await self._respond(exchange, caller, public=False)

    async def _images(self, exchange: SimulatedExchange, shape: Check) -> None:
        caller = admit_backend(exchange.headers)
        self._limits.spend(caller)
        body = parse_body(
            decode_responses_body(
                exchange.record.body,
                exchange.headers.get("content-encoding", "identity"),
                public=False,
            ),
            public=False,
        )
        try:
            shape(body, "", frozenset())
        except Misfit as misfit:
            raise in_their_words(str(misfit)) from misfit
        await exchange.send(
            200, orjson.dumps(images.reply_of_route(body)), JSON | self._limits.headers(caller)
        )

    async def _public(self, exchange: SimulatedExchange) -> None:
        await self._respond(exchange, admit_public(exchange.headers), public=True)

    async def _respond(
        self, exchange: SimulatedExchange, caller: CodexCaller, *, public: bool
    ) -> None:
        raw = decode_responses_body(
            exchange.record.body,
            exchange.headers.get("content-encoding", "identity"),
            public=public,
        )
        request = check_responses_request(parse_body(raw, public=public), public=public)
        exchange.record.model = request.model.slug
        exchange.record.credential = "api_key" if public else "login"
        reply = scripted_response(request, raw, uuid4().hex[:24], exchange.record.credential)
        response = compose_response(request, reply)
        # After the reply is known, because the usage counts it.
        response["usage"] = usage_of(self._cache.measure(request, caller.name), reply)
        if spent := images.tool_usage(reply.parts):
            response["tool_usage"] = spent
        if reply.fault == "hang":
            await stall(reply)
        events = Events()
        told = response_frames(events, response, reply, repeats_output=public)
        if public and not request.body.get("stream"):
            if reply.fails:
                raise backend_error(
                    500,
                    "The server had an error while processing your request.",
                    kind="server_error",
                )
            done = await play_whole(exchange, reply, orjson.dumps(response), JSON, told)
        else:
            await exchange.open(200, SSE if public else self._limits.headers(caller))
            if not public:
                # The backend begins each stream with the limits, before the reply itself.
                await exchange.write(events("codex.rate_limits", **self._limits.event(caller)))
            done = await play_stream(
                exchange, reply, told, partial(failure, events, response, reply)
            )
        if done:
            exchange.record.usage = response["usage"]

    async def _models(self, exchange: SimulatedExchange) -> None:
        admit_backend(exchange.headers)
        version = parse_qs(exchange.query).get("client_version", [""])[0]
        body, etag = list_codex_models(version)
        if exchange.headers.get("if-none-match") == etag:
            await exchange.send(304, b"", {"etag": etag})
            return
        await exchange.send(200, body, JSON | {"etag": etag})

    async def _usage(self, exchange: SimulatedExchange) -> None:
        caller = admit_backend(exchange.headers)
        await exchange.send(200, orjson.dumps(self._limits.usage(caller)), JSON)

    async def _public_models(self, exchange: SimulatedExchange) -> None:
        admit_public(exchange.headers)
        await exchange.send(200, list_public(), JSON)


def decode_responses_body(body: bytes, encoding: str, *, public: bool) -> bytes:
    """Return the decompressed body: zstd at the backend, gzip at the public interface, no further
    encoding.
    """
    try:
        if encoding == "zstd" and not public:
            # Unpacked only a little beyond the limit: a small body may unpack to gigabytes.
            body = zstd.ZstdDecompressor().decompress(body, MAX_BODY_BYTES + 1)
        elif encoding == "gzip" and public:
            body = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, MAX_BODY_BYTES + 1)
        elif encoding != "identity":
            raise detail(f"Unsupported content encoding: {encoding}", 415)  # unmeasured words
    except (zstd.ZstdError, zlib.error) as problem:
        raise detail("The request body cannot be decoded") from problem
    if len(body) > MAX_BODY_BYTES:
        raise detail("Request body too large", 413)
    return body


def parse_body(raw: bytes, *, public: bool) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        if public:
            refuse_parameter("We could not parse the JSON body of your request.")
        raise detail("Invalid JSON") from None


def compose_response(request: CodexRequest, reply: ScriptedReply) -> dict[str, Any]:
    """Return the whole response, without the usage."""
    body = request.body
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if reply.stop else "completed",
        "model": request.model.slug,
        "output": reply.parts,
        "error": None,
        "incomplete_details": {"reason": CUT.get(reply.stop, reply.stop)} if reply.stop else None,
        "instructions": body.get("instructions"),
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "reasoning": {
            "effort": request.model.default_effort,
            "summary": None,
            **(body.get("reasoning") or {}),
        },
        "store": body.get("store", True),
        "text": {"format": {"type": "text"}, **(body.get("text") or {})},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "prompt_cache_key": body.get("prompt_cache_key"),
        "metadata": body.get("metadata") or {},
        "service_tier": "priority"
        if body.get("service_tier") in {"priority", "fast"}
        else "default",
    }
