"""A scripted reply as the events of a Responses stream. Pure, so that a stream and a whole response
say the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import orjson

from simulator.codex import images
from simulator.codex.rules import Item
from simulator.codex.scenarios import FAILURES
from simulator.script import ScriptedReply, pieces

ARGUMENT_PIECE = 12
EMPTY: dict[str, Item] = {
    "message": {"content": []},
    "reasoning": {
        "summary": [],
        "encrypted_content": "gAAAA-provisional",
    },  # the seal is only final once it is done
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
    images.CALL: {"result": None},
}


class Events:
    """The numbers of events in writing order."""

    def __init__(self) -> None:
        self._numbers = count()

    def __call__(self, kind: str, **data: Any) -> bytes:
        shape = {"type": kind, "sequence_number": next(self._numbers), **data}
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(shape))


def response_frames(
    event: Events, response: dict[str, Any], reply: ScriptedReply, *, repeats_output: bool
) -> Iterator[bytes]:
    """Yield the events of `response`. `told_output` puts the items into the last event again."""
    begun = response | {
        "status": "in_progress",
        "output": [],
        "usage": None,
        "incomplete_details": None,
    }
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    offered: Item = next((tool for tool in response["tools"] if tool["type"] == images.TOOL), {})
    for index, item in enumerate(reply.parts):
        if item["type"] == images.CALL:
            yield from image_events(event, index, item, offered.get("partial_images", 0))
        else:
            yield from item_events(event, index, item, reply.piece)
        if reply.pings:
            yield event("keepalive")
    # The backend leaves the output out of the last event: a reader has to collect the items from
    # their own events.
    last = response if repeats_output else response | {"output": []}
    yield event("response.incomplete" if reply.stop else "response.completed", response=last)


def item_events(event: Events, index: int, item: Item, piece: int) -> Iterator[bytes]:
    here: dict[str, Any] = {"item_id": item["id"], "output_index": index}
    yield event("response.output_item.added", output_index=index, item=announced(item))
    match item["type"]:
        case "message":
            yield from message_events(event, here, item, piece)
        case "reasoning":
            yield from summary_events(event, here, item, piece)
        case "function_call":
            yield from call_events(
                event, here, "function_call_arguments", "arguments", item["arguments"]
            )
        case "custom_tool_call":
            yield from call_events(event, here, "custom_tool_call_input", "input", item["input"])
        case "web_search_call":
            for state in ("in_progress", "searching", "completed"):
                yield event(f"response.web_search_call.{state}", **here)
    yield event("response.output_item.done", output_index=index, item=item)


def image_events(event: Events, index: int, item: Item, partial: int) -> Iterator[bytes]:
    here: dict[str, Any] = {"item_id": item["id"], "output_index": index}
    yield event("response.output_item.added", output_index=index, item=announced(item))
    yield event("response.image_generation_call.in_progress", **here)
    yield event("response.image_generation_call.generating", **here)
    settings = {name: item[name] for name in images.DEFAULTS}
    for number, picture in enumerate(images.partial_pictures(item, partial)):
        shown = {"partial_image_index": number, "partial_image_b64": picture}
        yield event("response.image_generation_call.partial_image", **here, **shown, **settings)
    yield event("response.image_generation_call.completed", **here)
    yield event("response.output_item.done", output_index=index, item=item)


def announced(item: Item) -> Item:
    """Return the item as announced, without content."""
    status = {} if item["type"] == "reasoning" else {"status": "in_progress"}
    return item | EMPTY.get(item["type"], {}) | status


def message_events(event: Events, here: dict[str, Any], item: Item, piece: int) -> Iterator[bytes]:
    for number, part in enumerate(item["content"]):
        place = here | {"content_index": number}
        if part["type"] == "refusal":
            yield event("response.content_part.added", **place, part=part | {"refusal": ""})
            for delta in pieces(part["refusal"], piece):
                yield event("response.refusal.delta", **place, delta=delta)
            yield event("response.refusal.done", **place, refusal=part["refusal"])
        else:
            yield event(
                "response.content_part.added", **place, part=part | {"text": "", "annotations": []}
            )
            for delta in pieces(part["text"], piece):
                # hides the length of words from whoever listens on the line
                padding = "x" * (-len(delta) % 16)
                yield event(
                    "response.output_text.delta",
                    **place,
                    delta=delta,
                    logprobs=[],
                    obfuscation=padding,
                )
            for position, annotation in enumerate(part["annotations"]):
                yield event(
                    "response.output_text.annotation.added",
                    **place,
                    annotation_index=position,
                    annotation=annotation,
                )
            yield event("response.output_text.done", **place, text=part["text"], logprobs=[])
        yield event("response.content_part.done", **place, part=part)


def summary_events(event: Events, here: dict[str, Any], item: Item, piece: int) -> Iterator[bytes]:
    for number, part in enumerate(item["summary"]):
        place = here | {"summary_index": number}
        yield event("response.reasoning_summary_part.added", **place, part=part | {"text": ""})
        for delta in pieces(part["text"], piece):
            yield event("response.reasoning_summary_text.delta", **place, delta=delta)
        yield event("response.reasoning_summary_text.done", **place, text=part["text"])
        yield event("response.reasoning_summary_part.done", **place, part=part)


def call_events(
    event: Events, here: dict[str, Any], kind: str, name: str, text: str
) -> Iterator[bytes]:
    for delta in pieces(text, ARGUMENT_PIECE):
        yield event(f"response.{kind}.delta", **here, delta=delta)
    yield event(f"response.{kind}.done", **here, **{name: text})


def failure(event: Events, response: dict[str, Any], reply: ScriptedReply) -> bytes:
    """Return the event at the end of a failed stream."""
    code, message = FAILURES[reply.failure]
    if reply.fault == "error":
        return event("error", code=code, message=message, param=None)
    failed: dict[str, Any] = {
        "status": "failed",
        "output": [],
        "usage": None,
        "error": {"code": code, "message": message},
    }
    return event("response.failed", response=response | failed)
