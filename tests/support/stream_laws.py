"""What must hold for every stream a client gets, whatever its provider sent: a whole reply or an
error event ends it.

Each function raises AssertionError, or the error of the official types that a frame breaks.
"""

from __future__ import annotations

import json
from typing import Any

import orjson
from anthropic import types as messages
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from shared.formats.fields import inner_object
from shared.formats.json_text import whole
from shared.formats.sse import events_in
from shared.formats.written import Frame
from tests.support import format_laws, open_responses

MESSAGE_EVENTS: dict[str, type[BaseModel]] = {
    "message_start": messages.RawMessageStartEvent,
    "content_block_start": messages.RawContentBlockStartEvent,
    "content_block_delta": messages.RawContentBlockDeltaEvent,
    "content_block_stop": messages.RawContentBlockStopEvent,
    "message_delta": messages.RawMessageDeltaEvent,
    "message_stop": messages.RawMessageStopEvent,
}
OWN_BLOCKS = {"text", "thinking", "redacted_thinking", "tool_use"}
STANDARD_ITEMS = {"message", "function_call", "reasoning"}
SUCCESS = (
    b'"message_stop"',
    b"[DONE]",
    b'"response.completed"',
    b'"response.incomplete"',
    b'"finish_reason":"',
)


def a_stream_is_whole_or_ends_in_an_error(client: str, data: bytes) -> bool:
    """Return True for a whole reply and False for one that ends in the error event of the client's
    format.
    """
    assert data.endswith(b"\n\n"), data[-80:]
    frames = [Frame(event.name, payload_of(event.data)) for event in events_in(data)]
    assert frames, "a stream says something"
    failed = is_error(client, frames[-1])
    if failed:
        before = b"".join(event.data for event in events_in(data)[:-1])
        assert not any(mark in before for mark in SUCCESS), "a failure is never shown as success"
    else:
        format_laws.assemble(client, [frame for frame in frames if not is_input(frame)])
    for frame in frames[:-1] if failed else frames:
        has_official_type(client, frame)
    if client == "openai_responses" and not failed:
        open_responses.validate_events(data, open_responses.EXTENSIONS | unknown_items(frames))
    return not failed


def read_whole(data: bytes) -> Any:
    """Return JSON with U+FFFD for halves of surrogate pairs, which the official types take in no
    text.
    """
    return whole(json.loads(data)) if b"\\u" in data else orjson.loads(data)


def payload_of(data: bytes) -> Any:
    return "[DONE]" if data == b"[DONE]" else read_whole(data)


def is_error(client: str, frame: Frame) -> bool:
    """Return True for the error event of the client's format. Its message is a text that says
    something.
    """
    payload = frame.data
    if not isinstance(payload, dict):
        return False
    if client == "openai_responses":
        is_failure = payload.get("type") in ("response.failed", "error")
        error = (
            payload["response"]["error"] if payload.get("type") == "response.failed" else payload
        )
    else:
        error = payload.get("error")
        is_failure = error is not None and (
            client == "openai_chat" or frame.name == payload["type"] == "error"
        )
    if is_failure:
        assert isinstance(error["message"], str)
        assert error["message"]
    return is_failure


def is_input(frame: Frame) -> bool:
    """Return True for a piece of a call's arguments. A model writes them, so that they need not be
    JSON.
    """
    return (
        isinstance(frame.data, dict)
        and inner_object(frame.data, "delta").get("type") == "input_json_delta"
    )


def unknown_items(frames: list[Frame]) -> set[str]:
    """Return the types of items that came from a provider and that no format here knows."""
    types = {inner_object(frame.data, "item").get("type") for frame in frames}
    return {str(kind) for kind in types if kind is not None} - STANDARD_ITEMS


def has_official_type(client: str, frame: Frame) -> None:
    """Raise ValidationError for an event that is not of the official type. What only its provider
    understands may have any shape: it passes as it came.
    """
    if client == "openai_chat" and frame.data != "[DONE]":
        if '"custom"' not in json.dumps(
            frame.data
        ):  # the official type of chunks does not know custom tools
            ChatCompletionChunk.model_validate(frame.data)
    elif client == "anthropic" and not is_foreign(frame.data):
        assert isinstance(frame.data, dict)
        MESSAGE_EVENTS[frame.data["type"]].model_validate(frame.data)


def is_foreign(payload: Any) -> bool:
    """Return True for a ping, a citation, a refusal's details, and a block that only its provider
    understands.
    """
    delta = inner_object(payload, "delta")
    return (
        payload["type"] == "ping"
        or delta.get("type") == "citations_delta"
        or "stop_details" in delta
        or inner_object(payload, "content_block").get("type", "text") not in OWN_BLOCKS
    )
