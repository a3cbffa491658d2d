"""`/captures`: the switches of capture, and captured requests to look at, to compare, to pack into
a bundle, and to send again.

All of it needs the scope `admin`: a captured request has everything its client said. Sending again
also needs the scope of the model's route; the sent request is recorded, limited and paid like any
other of the caller's.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from gateway.capture.answers import reply_parts
from gateway.capture.blocks import document_of, prompt_blocks, total_tokens
from gateway.capture.captures import Captures
from gateway.capture.difference import blocks_difference
from gateway.capture.repeating import Prepared, as_curl, prepare_again
from gateway.capture.switch import Kind, SwitchOn
from gateway.proxy.exchange import Exchange, PassThrough
from gateway.proxy.native import NativeResponses
from gateway.proxy.translated import Translated
from gateway.routes.parts import owner_of, parts_of
from gateway.server.asgi import ASGIApp, Receive, Scope, Send
from gateway.server.bodies import replay
from gateway.server.context import context_of
from gateway.server.guard import as_caller, scope_of
from shared.captures.bundle import write_bundle
from shared.captures.capture import Capture, NotACapture, Part, Summary
from shared.runtime.errors import ClientError, NotAllowed, NotFound, StoreUnavailable
from shared.runtime.times import iso_time
from shared.runtime.visible_text import visible_line

T = TypeVar("T")

REPEATED = (PassThrough, Translated, NativeResponses)
MOST_IN_BUNDLE = 100
COUNT = "/count_tokens"


class SendAgain(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str = Field("", max_length=200, description="Another model; empty: the same.")
    route: str = Field(
        "", max_length=200, description="Another route, as `/codex`, or a whole address."
    )


class Sending(Response):
    """The response of a captured request that is sent again: the endpoint's own."""

    def __init__(self, endpoint: ASGIApp, prepared: Prepared) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._prepared = prepared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prepared = self._prepared
        context = context_of(scope)
        # From here on the request is one to the model: in its record, its errors and its limits.
        context.record.path = context.endpoint = prepared.path
        context.record.query = ""
        context.headers = prepared.headers
        asked = {
            **scope,
            "path": prepared.path,
            "query_string": b"",
            "headers": list(prepared.headers.items()),
            "path_params": {},
        }
        await self._endpoint(asked, replay(prepared.body, receive), send)


@cache
def captures_router() -> APIRouter:
    """Return the routes of captures, built once in a process."""
    routes = APIRouter(prefix="/captures", tags=["captures"])
    add_switches(routes)
    add_bundle(routes)
    add_looking(routes)
    add_sending(routes)
    return routes


def add_switches(routes: APIRouter) -> None:
    @routes.get("/switches")
    async def switches(request: Request) -> dict[str, Any]:
        """Return what is being captured, and until when."""
        return parts_of(request).captures.describe()

    @routes.post("/switches")
    async def turn_on(request: Request, wanted: SwitchOn) -> dict[str, Any]:
        """Capture the requests of a token, of a session, or all of them, for a time. Every gateway
        of the stack follows within a second.
        """
        parts = parts_of(request)
        names = [token.name for token in parts.tokens.all()]
        if wanted.kind == "token" and wanted.name not in names:
            raise NotFound(
                f"There is no token {wanted.name!r}; there "
                + (f"are {', '.join(sorted(names))}." if names else "is none at all.")
            )
        await parts.captures.turn_on(wanted.switch(owner_of(request)))
        return parts.captures.describe()

    @routes.delete("/switches")
    async def turn_off(
        request: Request, kind: Kind | None = None, name: str = ""
    ) -> dict[str, Any]:
        """Switch off one switch, or all of them without `kind`. Captures stay."""
        captures = parts_of(request).captures
        await captures.turn_off(kind, name, owner_of(request))
        return captures.describe()


def add_bundle(routes: APIRouter) -> None:
    @routes.get("/bundle", response_model=None)
    async def bundle(
        request: Request,
        id: Annotated[list[str], Query(max_length=MOST_IN_BUNDLE)],  # noqa: A002 - the name in the address
    ) -> Response:
        """Return captured requests in one file, which the simulator can play."""
        captures = parts_of(request).captures
        found = [await read(captures, captures.store.get, each) for each in id]
        data = await asyncio.to_thread(write_bundle, found)
        named = {"content-disposition": 'attachment; filename="ccproxy-bundle.json"'}
        return Response(data, media_type="application/json", headers=named)


def add_looking(routes: APIRouter) -> None:
    @routes.get("")
    async def listed(
        request: Request,
        id: str | None = None,  # noqa: A002 - the name in the address
        session: str | None = None,
        token: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """List captured requests, latest first; with `id` that one, if it is there."""
        captures = parts_of(request).captures

        def look() -> dict[str, Any]:
            if id is None:
                found = captures.store.summaries(session=session, caller=token, limit=limit)
            else:
                found = captures.store.named(id)
            count, size = captures.store.size()
            return {"captures": [shown_summary(each) for each in found], "count": count} | {
                "bytes": size
            }

        return await read(captures, look)

    @routes.delete("")
    async def clear(request: Request) -> dict[str, Any]:
        """Delete every capture."""
        captures = parts_of(request).captures
        return {"deleted": await read(captures, captures.store.clear)}

    @routes.get("/{capture_id}")
    async def one(request: Request, capture_id: str) -> dict[str, Any]:
        """Return a captured request: its blocks by estimated tokens, the reply, and a command that
        sends it again.
        """
        captures = parts_of(request).captures
        found = await read(captures, captures.store.get, capture_id)
        base = request.base_url
        origin = f"{base.scheme}://{base.netloc}"
        return await asyncio.to_thread(shown_capture, found, origin)

    @routes.delete("/{capture_id}")
    async def delete(request: Request, capture_id: str) -> dict[str, Any]:
        """Delete a capture."""
        captures = parts_of(request).captures
        await read(captures, captures.store.delete, capture_id)
        return {"deleted": 1}

    @routes.get("/{capture_id}/difference")
    async def compared(request: Request, capture_id: str) -> dict[str, Any]:
        """Compare a captured request with the one before of its session: by blocks, then by
        lines.
        """
        captures = parts_of(request).captures

        def compare() -> dict[str, Any]:
            after = captures.store.get(capture_id)
            before = captures.store.before(after.summary)
            if before is None:
                return {"before": None, "changes": []}
            return {
                "before": shown_summary(before.summary),
                "changes": blocks_difference(
                    prompt_blocks(document_of(before.request) or {}),
                    prompt_blocks(document_of(after.request) or {}),
                ),
            }

        return await read(captures, compare)


def add_sending(routes: APIRouter) -> None:
    @routes.post("/{capture_id}/send", response_model=None)
    async def send_again(request: Request, capture_id: str, wanted: SendAgain) -> Response:
        """Send a captured request again, to another model or route if named, and return the answer.
        It is an ordinary request of the caller: it costs tokens, and is captured itself.
        """
        context = context_of(request.scope)
        parts = parts_of(request)
        found = await read(parts.captures, parts.captures.store.get, capture_id)
        formats = {
            path: endpoint.dialect
            for path, endpoint in parts.endpoints.items()
            if isinstance(endpoint, REPEATED) and not path.endswith(COUNT)
        }
        prepared = prepare_again(found, wanted.model, wanted.route, formats)
        needed = scope_of("POST", prepared.path)
        if needed not in context.admitted.scopes:
            raise NotAllowed(
                f"The token {context.admitted.name!r} may not do this: it lacks the scope "
                f"{needed!r}."
            )
        for token in parts.tokens.all():
            if token.name == context.admitted.name:
                as_caller(token, "POST", prepared.path)  # its routes hold here too
        context.repeats = capture_id
        endpoint = parts.endpoints[prepared.path]
        assert isinstance(endpoint, Exchange)
        return Sending(endpoint, prepared)


async def read(captures: Captures, look: Callable[..., T], *arguments: str) -> T:
    """Return what `look` finds in the store, in a thread. Requests that are over are written first,
    so a client finds its own. Raises StoreUnavailable, NoSuchCapture, ClientError.
    """
    await captures.settle()
    try:
        return await asyncio.to_thread(look, *arguments)
    except NotACapture as error:
        raise ClientError(error.message) from error
    except OSError as error:
        raise StoreUnavailable(f"The captures cannot be read: {error.strerror}.") from error


def shown_summary(summary: Summary) -> dict[str, Any]:
    """Return a summary for people and programs; hidden characters of a client's words are
    escaped.
    """
    facts = dataclasses.asdict(summary) | {"at": iso_time(summary.at)}
    return {
        name: visible_line(value) if isinstance(value, str) else value
        for name, value in facts.items()
    }


def shown_capture(capture: Capture, origin: str) -> dict[str, Any]:
    """Return a capture for people and programs."""
    document = document_of(capture.request)
    blocks = prompt_blocks(document) if document is not None else []
    total = total_tokens(blocks)
    try:
        curl = as_curl(capture, origin)
    except ClientError:
        curl = ""
    sent = capture.sent
    return {
        "summary": shown_summary(capture.summary),
        "tokens": total,
        "blocks": [block.shown(total) for block in blocks],
        "answer": reply_parts(capture.reply),
        "curl": curl,
        "sent_unchanged": sent is not None and sent.body == capture.request.body,
        "request": shown_part(capture.request),
        "sent": shown_part(sent),
        "provider_answer": shown_part(capture.answer),
        "reply": shown_part(capture.reply),
    }


def shown_part(part: Part | None) -> dict[str, Any] | None:
    """Return a message without its body, which blocks, answer and bundle have."""
    if part is None:
        return None
    facts = dataclasses.asdict(part)
    del facts["body"]
    return {**facts, "chunks": len(part.chunks)}
