"""The messages of a request as the service reads them: merged by role, and block by block."""

from __future__ import annotations

from typing import Any

from simulator.anthropic.models import find_model
from simulator.anthropic.request import AnthropicRequest, blocks_of, each_block, merge_turns


def message(role: str, *words: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": word} for word in words]}


def test_turns_merge_messages_of_one_role_and_skip_the_system_ones() -> None:
    system = {"role": "system", "content": "x"}
    turns = merge_turns(
        [message("user", "a"), system, message("user", "b"), message("assistant", "c")]
    )
    assert [(turn.role, turn.number, len(turn.blocks)) for turn in turns] == [
        ("user", 0, 2),
        ("assistant", 3, 1),
    ]


def test_merging_leaves_the_clients_messages_as_they_are() -> None:
    messages = [message("user", "a"), message("user", "b")]
    merge_turns(messages)
    assert messages == [message("user", "a"), message("user", "b")]


def test_a_text_is_one_block_and_no_content_is_none() -> None:
    assert blocks_of("hi") == [{"type": "text", "text": "hi"}]
    assert blocks_of(None) == []


def test_each_block_comes_with_its_path_and_its_message() -> None:
    messages = [{"role": "user", "content": "hi"}, message("assistant", "a", "b")]
    request = AnthropicRequest({"messages": messages}, find_model("claude-opus-5"), "", frozenset())
    assert [(where, role["role"], block["text"]) for where, role, block in each_block(request)] == [
        ("messages.0.content.0", "user", "hi"),
        ("messages.1.content.0", "assistant", "a"),
        ("messages.1.content.1", "assistant", "b"),
    ]
    assert request.thinking == ""
