"""The public Open Responses types as a judge of replies: a whole response, or every event of a
stream.

The standard lets a service add items and tools of its own. Only the additions in EXTENSIONS may
appear, and they are left out before the rest is validated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openresponses_types.types as standard
import orjson
from pydantic import BaseModel

from shared.formats.json_text import whole
from shared.formats.sse import events_in

EXTENSIONS = frozenset(
    {
        "custom_tool_call",
        "custom",
        "image_generation_call",
        "image_generation",
        "local_shell_call",
        "web_search_call",
    }
    | {"web_search", "local_shell", "namespace", "apply_patch_call", "tool_search_call"}
)
# Events of the standard by their type. The events of extensions have the type of their item in
# their name.
EVENTS: dict[str, type[BaseModel]] = {
    "response.created": standard.ResponseCreatedStreamingEvent,
    "response.queued": standard.ResponseQueuedStreamingEvent,
    "response.in_progress": standard.ResponseInProgressStreamingEvent,
    "response.completed": standard.ResponseCompletedStreamingEvent,
    "response.failed": standard.ResponseFailedStreamingEvent,
    "response.incomplete": standard.ResponseIncompleteStreamingEvent,
    "response.output_item.added": standard.ResponseOutputItemAddedStreamingEvent,
    "response.output_item.done": standard.ResponseOutputItemDoneStreamingEvent,
    "response.content_part.added": standard.ResponseContentPartAddedStreamingEvent,
    "response.content_part.done": standard.ResponseContentPartDoneStreamingEvent,
    "response.output_text.delta": standard.ResponseOutputTextDeltaStreamingEvent,
    "response.output_text.done": standard.ResponseOutputTextDoneStreamingEvent,
    "response.output_text.annotation.added": standard.ResponseOutputTextAnnotationAddedStreamingEvent,
    "response.refusal.delta": standard.ResponseRefusalDeltaStreamingEvent,
    "response.refusal.done": standard.ResponseRefusalDoneStreamingEvent,
    "response.reasoning.delta": standard.ResponseReasoningDeltaStreamingEvent,
    "response.reasoning.done": standard.ResponseReasoningDoneStreamingEvent,
    "response.reasoning_summary_part.added": standard.ResponseReasoningSummaryPartAddedStreamingEvent,
    "response.reasoning_summary_part.done": standard.ResponseReasoningSummaryPartDoneStreamingEvent,
    "response.reasoning_summary_text.delta": standard.ResponseReasoningSummaryDeltaStreamingEvent,
    "response.reasoning_summary_text.done": standard.ResponseReasoningSummaryDoneStreamingEvent,
    "response.function_call_arguments.delta": standard.ResponseFunctionCallArgumentsDeltaStreamingEvent,
    "response.function_call_arguments.done": standard.ResponseFunctionCallArgumentsDoneStreamingEvent,
    "error": standard.ErrorStreamingEvent,
}
EXTENSION_EVENTS = (
    "response.web_search_call.",
    "response.custom_tool_call_input.",
    "response.image_generation_call.",
)


def validate_response(document: dict[str, Any]) -> None:
    """Raise ValidationError if `document` is no response of the standard."""
    standard.ResponseResource.model_validate(_without_extensions(document))


def validate_events(data: bytes, extensions: frozenset[str] = EXTENSIONS) -> list[str]:
    """Return the types of the events in a whole stream. Raise if one is invalid or out of order.

    `extensions` are the types of items and tools that the standard does not describe.
    """
    types = []
    last_number = -1
    for payload in _payloads(data):
        kind = payload["type"]
        types.append(kind)
        assert payload["sequence_number"] > last_number, (
            f"{kind} has the number {payload['sequence_number']}"
        )
        last_number = payload["sequence_number"]
        if kind.startswith(EXTENSION_EVENTS):
            continue
        payload = _without_own_annotations(payload)
        if "annotation" in payload and not _is_standard(payload["annotation"]):
            continue
        if isinstance(payload.get("response"), dict):
            payload["response"] = _without_extensions(payload["response"], extensions)
        if payload.get("item", {}).get("type") in extensions:
            payload["item"] = None
        EVENTS[kind].model_validate(payload)
    return types


def _payloads(data: bytes) -> Iterator[dict[str, Any]]:
    for event in events_in(data):
        if event.data != "[DONE]":
            yield (
                whole(json.loads(event.data)) if b"\\u" in event.data else orjson.loads(event.data)
            )


def _is_standard(annotation: Any) -> bool:
    """Return False for a citation of a kind that only its provider understands."""
    kind = annotation.get("type") if isinstance(annotation, dict) else None
    return not isinstance(kind, str) or kind == "url_citation"


def _without_own_annotations(value: Any) -> Any:
    """Return `value` without citations of kinds that the standard does not describe."""
    if isinstance(value, list):
        return [_without_own_annotations(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _without_own_annotations(each) for name, each in value.items()}
    if isinstance(kept.get("annotations"), list):
        kept["annotations"] = [each for each in kept["annotations"] if _is_standard(each)]
    return kept


def _without_extensions(
    response: dict[str, Any], extensions: frozenset[str] = EXTENSIONS
) -> dict[str, Any]:
    """Return `response` without items and tools of a service's own, and without the schema of a
    JSON format.

    The published types take no JSON schema in `text.format.schema`, a slip of their generator.
    """
    kept = dict(response)
    for name in ("output", "tools"):
        kept[name] = [each for each in response[name] if each["type"] not in extensions]
    text = response["text"]
    if text["format"].get("schema") is not None:
        kept["text"] = text | {"format": text["format"] | {"schema": None}}
    return kept
