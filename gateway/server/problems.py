"""Errors as bytes that the route's clients can read: the one place where an error kind becomes a
dialect.

Before the first byte an error is a whole response; after it, the stream's own error event. A
provider's refusal keeps its own status and words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any, Literal

from gateway.server.asgi import Headers, Send
from shared.formats import openai_errors
from shared.formats.ir import Fail
from shared.formats.messages import errors as anthropic_errors
from shared.runtime.errors import (
    CCProxyError,
    ClientError,
    SpendLimitReached,
    StoredThingMissing,
    ThreadNotFound,
    UpstreamRefused,
)
from shared.runtime.exact_json import dump_json, load_json

Dialect = Literal["anthropic", "openai_chat", "openai_responses", "plain"]

OPENAI_PATH = re.compile(r"/(chat/completions|responses|conversations)(/|$)")


@dataclass(frozen=True, slots=True)
class Problem:
    """A whole error response."""

    status: int
    headers: Headers
    body: bytes


def dialect_of(path: str) -> Dialect:
    """Return the dialect of an address, served or not: clients expect errors in the dialect of the
    called prefix.
    """
    if match := OPENAI_PATH.search(path):
        return "openai_chat" if match[1].startswith("chat") else "openai_responses"
    if path.startswith("/codex") and "/messages" not in path:
        return "openai_responses"
    if path.startswith(("/v1/messages", "/messages")):
        return "anthropic"
    if path.startswith(("/v1", "/openai")):
        return "openai_responses"
    return "anthropic" if path.startswith(("/api", "/sdk", "/codex", "/anthropic")) else "plain"


def envelope(error: CCProxyError, dialect: Dialect, request_id: str) -> dict[str, Any]:
    if dialect == "anthropic":
        return anthropic_errors.write_error(as_fail(error), request_id=request_id)
    if dialect == "plain":
        return {"error": {"type": error.kind, "message": error.message}, "request_id": request_id}
    return openai_errors.write_error(as_fail(error))


def as_fail(error: CCProxyError) -> Fail:
    """Return an error of ours in the terms of shared/formats."""
    param = error.param if isinstance(error, ClientError) else None
    code = error.code if isinstance(error, StoredThingMissing) else ""
    if error.status >= 500 or isinstance(error, ThreadNotFound | SpendLimitReached):
        code = error.kind
    return Fail(error.message, error.status, code, param or "")


def render_error(error: CCProxyError, dialect: Dialect, request_id: str) -> Problem:
    """Return `error` as a response. UpstreamRefused with a body passes on word for word."""
    headers: Headers = [
        (name.lower().encode(), value.encode("latin-1")) for name, value in error.headers.items()
    ]
    if isinstance(error, UpstreamRefused) and error.body:
        body = in_dialect(error, dialect)
        if not any(name == b"content-type" for name, _ in headers):
            headers.append((b"content-type", b"application/json"))
    else:
        body = dump_json(envelope(error, dialect, request_id))
        headers.append((b"content-type", b"application/json"))
    headers.append((b"content-length", str(len(body)).encode()))
    return Problem(error.status, headers, body)


def in_dialect(error: UpstreamRefused, dialect: Dialect) -> bytes:
    """Return the refusal's body, in OpenAI's envelope when Anthropic's envelope would reach an
    OpenAI client.
    """
    if dialect not in ("openai_chat", "openai_responses"):
        return error.body
    fail = anthropic_refusal(error)
    return error.body if fail is None else dump_json(openai_errors.write_error(fail))


def anthropic_refusal(error: UpstreamRefused) -> Fail | None:
    """Return the failure in the refusal's body if the body is Anthropic's envelope, else None."""
    try:
        body = load_json(error.body)
    except JSONDecodeError:
        return None
    is_envelope = isinstance(body, dict) and body.get("type") == "error"
    return anthropic_errors.read_error(body, error.status) if is_envelope else None


def error_frame(error: CCProxyError, dialect: Dialect, request_id: str) -> bytes:
    """Return `error` as the last event of a stream already begun."""
    shape: dict[str, Any]
    if isinstance(error, UpstreamRefused) and error.body and dialect == "anthropic":
        # A line end, CR or LF, would end the event's data. In JSON line ends stand between tokens
        # only.
        data = error.body.replace(b"\r", b" ").replace(b"\n", b" ")
        return b"event: error\ndata: " + data + b"\n\n"
    fail = anthropic_refusal(error) if isinstance(error, UpstreamRefused) else None
    shape = (
        envelope(error, dialect, request_id) if fail is None else openai_errors.write_error(fail)
    )
    if dialect == "openai_responses":
        code, message = (
            (error.kind, error.message)
            if fail is None
            else (openai_errors.error_code(fail), fail.message)
        )
        shape = {
            "type": "error",
            "code": code,
            "message": message,
            "param": None,
            "sequence_number": 0,
        }
    event = b"data: " + dump_json(shape) + b"\n\n"
    return event if dialect == "openai_chat" else b"event: error\n" + event


def passed_refusal(fail: Fail, body: bytes, headers: Headers) -> UpstreamRefused:
    """Return a provider's failure with `body` as the reply, the failure's own status, and the
    headers about limits.
    """
    kept = {
        name.decode(): value.decode("latin-1")
        for name, value in headers
        if name not in {b"content-type", b"content-encoding"}
    }
    return UpstreamRefused(fail.message, status=fail.status, body=body, headers=kept)


async def respond(problem: Problem, send: Send) -> None:
    await send(
        {"type": "http.response.start", "status": problem.status, "headers": problem.headers}
    )
    await send({"type": "http.response.body", "body": problem.body})
