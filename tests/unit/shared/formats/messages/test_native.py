"""What this gateway put into a conversation goes; every other byte of the request stays."""

from __future__ import annotations

from typing import Any

import pytest

from shared.formats.envelope import wrap
from shared.formats.ir import Thinking
from shared.formats.messages.native import MARK_BYTES, without_own_marks
from shared.formats.messages.stream_out import search_blocks

OURS = {
    "type": "thinking",
    "thinking": "x",
    "signature": wrap(Thinking("x", "gAAA", "openai", "rs_1")),
}
THEIRS = {"type": "thinking", "thinking": "x", "signature": "EqQB"}
TEXT = {"type": "text", "text": "hi"}


def body(*content: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [*content]},
        ],
    }


def test_a_request_without_anything_of_ours_is_the_very_same_object() -> None:
    request = body(THEIRS, TEXT)
    assert without_own_marks(request).body is request


@pytest.mark.parametrize("odd", [{}, {"messages": 1}, {"messages": [1, {"content": [1]}]}])
def test_an_odd_request_is_the_providers_to_judge(odd: dict[str, Any]) -> None:
    assert without_own_marks(odd).body is odd


def test_foreign_reasoning_and_searches_go_and_are_named() -> None:
    used, found = search_blocks(
        {"id": "ws_1", "action": {"query": "q", "sources": [{"url": "https://a.test"}]}}
    )
    redacted = {"type": "redacted_thinking", "data": OURS["signature"]}
    request = body(OURS, THEIRS, redacted, used, found, TEXT)
    assert MARK_BYTES in repr(request).encode()
    written = without_own_marks(request)
    assert written.body == body(THEIRS, TEXT)
    assert written.dropped == (
        "messages[].content[].thinking",
        "messages[].content[].redacted_thinking",
        "messages[].content[].server_tool_use",
        "messages[].content[].web_search_tool_result",
    )


def test_a_message_of_which_nothing_is_left_goes_whole() -> None:
    assert without_own_marks(body(OURS)).body["messages"] == [{"role": "user", "content": "a"}]


def test_text_that_speaks_of_our_mark_stays() -> None:
    request = body({"type": "text", "text": "ccpx1: is a mark"})
    assert without_own_marks(request).body is request
