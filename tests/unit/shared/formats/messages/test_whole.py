"""A stream spells out one message; nothing it says is lost, known here or not."""

from __future__ import annotations

from typing import Any

import pytest

from shared.formats.messages.whole import WholeMessage
from shared.runtime.errors import UpstreamError


def whole(*payloads: dict[str, Any]) -> WholeMessage:
    message = WholeMessage()
    start = {
        "type": "message_start",
        "message": {"id": "m", "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}},
    }
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 9},
    }
    for payload in (start, {"type": "ping"}, *payloads, end, {"type": "message_stop"}):
        message.feed(payload)
    return message


def opened(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, **change: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": change}


def test_usage_and_stop_reason_are_the_last_told() -> None:
    message = whole().message
    assert message["usage"] == {"input_tokens": 3, "output_tokens": 9}
    assert message["stop_reason"] == "end_turn"


def test_blocks_that_overlap_are_put_together_in_their_order() -> None:
    content = whole(
        opened(0, type="text", text=""),
        opened(1, type="tool_use", id="t", name="f", input={}),
        delta(1, type="input_json_delta", partial_json='{"a"'),
        delta(0, type="text_delta", text="he"),
        delta(1, type="input_json_delta", partial_json=":1}"),
        delta(0, type="text_delta", text="llo"),
    ).message["content"]
    assert content == [
        {"type": "text", "text": "hello"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ]


def test_thinking_keeps_its_signature_and_text_its_citations() -> None:
    content = whole(
        opened(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="signature_delta", signature="sealed"),
        opened(1, type="text", text="", citations=None),
        delta(1, type="citations_delta", citation={"url": "u"}),
    ).message["content"]
    assert content[0] == {"type": "thinking", "thinking": "hm", "signature": "sealed"}
    assert content[1]["citations"] == [{"url": "u"}]


def test_a_block_unknown_here_is_kept_as_it_came() -> None:
    block = {"type": "tool_use_sdk", "id": "x", "input": {"a": [1]}, "source": "claude_code_sdk"}
    assert whole(opened(0, **block), delta(0, type="invented_delta", more=1)).message[
        "content"
    ] == [block]


def test_an_error_is_no_message() -> None:
    message = WholeMessage()
    message.feed({"type": "error", "error": {"type": "overloaded_error"}})
    assert message.error is not None
    assert not message.stopped


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "message_start"},
        {"type": "content_block_start", "index": {}, "content_block": {}},
        {"type": "content_block_start", "index": 0, "content_block": 7},
        delta(5, type="text_delta", text="x"),
        delta(0, type="text_delta", text=7),
        {"type": "message_delta", "delta": 7},
        {"type": "message_delta", "delta": {}, "usage": "many"},
    ],
)
def test_a_payload_that_does_not_fit_is_the_provider_s_error(payload: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError):
        whole(opened(0, type="text", text=""), payload)


def test_an_input_that_is_no_json_is_the_provider_s_error() -> None:
    broken = delta(0, type="input_json_delta", partial_json='{"a":')
    with pytest.raises(UpstreamError):
        whole(opened(0, type="tool_use", id="t", name="f", input={}), broken)
