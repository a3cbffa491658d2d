"""The text of a reply in every format, streamed and whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.capture.answers import reply_parts
from shared.captures.capture import Part


def whole(document: Any) -> Part:
    return Part([["content-type", "application/json"]], json.dumps(document))


def stream(*events: Any) -> Part:
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return Part([["content-type", "text/event-stream; charset=utf-8"]], body)


def delta(**facts: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": facts}


def chunk(**facts: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": facts}]}


def call(arguments: str, **facts: Any) -> dict[str, Any]:
    return chunk(
        tool_calls=[
            {
                "index": 0,
                **facts,
                "function": {"arguments": arguments} | ({"name": "read"} if facts else {}),
            }
        ]
    )


TEXT = [{"kind": "text", "text": "Hello."}]
CALL = [*TEXT, {"kind": "tool call", "text": 'read {"a": 1}'}]


@pytest.mark.parametrize(
    ("part", "parts"),
    [
        (whole({"content": [{"type": "text", "text": "Hello."}]}), TEXT),
        (whole({"choices": [{"message": {"content": "Hello."}}]}), TEXT),
        (whole({"output": [{"content": [{"type": "output_text", "text": "Hello."}]}]}), TEXT),
        (stream(delta(text="Hel"), delta(text="lo.")), TEXT),
        (
            stream(chunk(role="assistant", content=""), chunk(content="Hel"), chunk(content="lo.")),
            TEXT,
        ),
        (stream({"type": "response.output_text.delta", "delta": "Hello."}), TEXT),
        (
            stream(
                delta(text="Hello."),
                {
                    "type": "content_block_start",
                    "content_block": {"type": "tool_use", "name": "read"},
                },
                delta(partial_json='{"a": '),
                delta(partial_json="1}"),
            ),
            CALL,
        ),
        (stream(chunk(content="Hello."), call('{"a": ', id="1"), call("1}")), CALL),
        (
            stream(
                {"type": "response.output_text.delta", "delta": "Hello."},
                {
                    "type": "response.output_item.added",
                    "item": {"type": "function_call", "name": "read"},
                },
                {"type": "response.function_call_arguments.delta", "delta": '{"a": 1}'},
            ),
            CALL,
        ),
        (whole({"error": {"message": "no"}}), [{"kind": "error", "text": "no"}]),
        (stream({"type": "error", "error": {"message": "no"}}), [{"kind": "error", "text": "no"}]),
        (
            stream(delta(thinking="Hm."), delta(text="Hello.")),
            [{"kind": "thinking", "text": "Hm."}, *TEXT],
        ),
        (None, []),
        (Part(), []),
        (whole([1]), []),
        (whole({"content": "x", "choices": [5], "output": [{"content": None}]}), []),
        (stream({"delta": 5, "choices": [{"delta": [1]}]}, 7), []),
    ],
)
def test_a_reply_has_its_parts(part: Part | None, parts: list[dict[str, str]]) -> None:
    assert reply_parts(part) == parts
