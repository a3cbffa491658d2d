"""Replies as events: folding them gives the whole message back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from simulator.anthropic.stream import message_frames, stream_event
from simulator.script import ScriptedReply

CITATION = {
    "type": "web_search_result_location",
    "url": "https://x",
    "title": "x",
    "cited_text": "y",
}
BLOCKS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "let me see", "signature": "c2lnbmVk"},
    {"type": "text", "text": "Zwei  Wörter\nund mehr"},
    {"type": "text", "text": "cited", "citations": [CITATION]},
    {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "look",
        "input": {"where": "under the very long table", "n": [1, 2]},
    },
    {"type": "tool_use", "id": "toolu_2", "name": "stop", "input": {}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    {"type": "redacted_thinking", "data": "c2VjcmV0"},
]
USAGE = {"input_tokens": 3, "output_tokens": 9, "cache_creation": {}}


def message(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    ending = {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None}
    return {"id": "msg_1", "content": blocks, "usage": USAGE, **ending}


def parsed(reply: ScriptedReply) -> list[dict[str, Any]]:
    events = []
    for frame in message_frames(message(reply.parts), reply):
        name, data = frame.decode().removesuffix("\n\n").split("\n")
        events.append(orjson.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def fold(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the blocks together again, keyed by index, the way a careful client does."""
    blocks: dict[int, dict[str, Any]] = {}
    arguments: dict[int, str] = {}
    for item in events:
        if item["type"] == "content_block_start":
            blocks[item["index"]] = item["content_block"]
        if item["type"] == "content_block_delta":
            block, delta = blocks[item["index"]], item["delta"]
            match delta["type"]:
                case "text_delta":
                    block["text"] += delta["text"]
                case "thinking_delta":
                    block["thinking"] += delta["thinking"]
                case "signature_delta":
                    block["signature"] = delta["signature"]
                case "citations_delta":
                    block["citations"].append(delta["citation"])
                case "input_json_delta":
                    arguments[item["index"]] = (
                        arguments.get(item["index"], "") + delta["partial_json"]
                    )
    for index, text in arguments.items():
        blocks[index]["input"] = orjson.loads(text or "{}")
    return [blocks[index] for index in sorted(blocks)]


@pytest.mark.parametrize(
    "reply",
    [
        ScriptedReply(BLOCKS),
        ScriptedReply(BLOCKS, interleaved=True),
        ScriptedReply(BLOCKS, piece=3, pings=True),
    ],
)
def test_the_events_add_up_to_the_blocks(reply: ScriptedReply) -> None:
    assert fold(parsed(reply)) == BLOCKS


def test_the_grammar_is_start_blocks_delta_stop() -> None:
    kinds = [item["type"] for item in parsed(ScriptedReply(BLOCKS))]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == len(BLOCKS)
    assert kinds.count("ping") == 1


def test_interleaved_blocks_are_open_at_once() -> None:
    kinds = [
        item["type"]
        for item in parsed(ScriptedReply(BLOCKS[3:5], interleaved=True))
        if item["type"] != "ping"
    ]
    assert kinds[1:3] == ["content_block_start", "content_block_start"]


def test_pings_can_come_between_any_two_events() -> None:
    kinds = [item["type"] for item in parsed(ScriptedReply(BLOCKS[:1], pings=True))]
    assert kinds[2:9:2] == ["ping"] * 4


def test_an_empty_input_sends_nothing_but_the_empty_delta() -> None:
    deltas = [
        item["delta"]
        for item in parsed(ScriptedReply(BLOCKS[4:5]))
        if item["type"] == "content_block_delta"
    ]
    assert deltas == [{"type": "input_json_delta", "partial_json": ""}]


def test_the_start_knows_the_input_and_the_end_all_of_the_output() -> None:
    events = parsed(ScriptedReply(BLOCKS))
    assert events[0]["message"]["usage"]["output_tokens"] == 1
    assert events[0]["message"]["stop_reason"] is None
    assert events[-2]["usage"] == {"input_tokens": 3, "output_tokens": 9}


def test_events_are_padded_the_way_the_service_pads_them() -> None:
    assert (
        stream_event("ping", a="b")
        == b'event: ping\ndata: {"type":"ping","a":"b"' + b" " * 3 + b"}\n\n"
    )
