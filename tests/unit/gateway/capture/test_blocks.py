"""Every part of a request that a model reads is in one block, in every client's format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.capture.blocks import (
    SHOWN_CHARACTERS,
    cut_in_middle,
    document_of,
    prompt_blocks,
    readable_text,
    total_tokens,
)
from gateway.proxy.estimate import estimate
from shared.captures.capture import Part

MESSAGES: dict[str, Any] = {
    "model": "claude-x",
    "system": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
    "tools": [{"name": "read", "description": "d"}],
    "messages": [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [{"type": "tool_use", "name": "read", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "content": "the text"}]},
    ],
    "tool_choice": {"type": "auto"},
}
CHAT: dict[str, Any] = {
    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hello"}],
    "tools": [{"type": "function", "function": {"name": "read"}}],
}
RESPONSES: dict[str, Any] = {
    "instructions": "be short",
    "input": [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
    "text": {"format": {"type": "text"}},
}


@pytest.mark.parametrize(
    ("document", "labels"),
    [
        (
            MESSAGES,
            [
                "System prompt, part 1",
                "System prompt, part 2",
                "Tool read",
                "1. user",
                "2. assistant, tool call",
                "3. user, tool result",
                "Settings that the model reads",
            ],
        ),
        (CHAT, ["Tool read", "1. system", "2. user"]),
        (RESPONSES, ["System prompt", "1. user", "Settings that the model reads"]),
        ({"input": "hello"}, ["1. user"]),
        ({}, []),
        ({"messages": "no list", "tools": 5, "system": {"a": 1}}, ["System prompt", "1. user"]),
    ],
)
def test_a_request_of_each_format_has_its_blocks(document: Any, labels: list[str]) -> None:
    assert [block.label for block in prompt_blocks(document)] == labels


@pytest.mark.parametrize("document", [MESSAGES, CHAT, RESPONSES])
def test_the_blocks_have_the_tokens_of_the_request(document: Any) -> None:
    blocks = prompt_blocks(document)
    assert 0 <= total_tokens(blocks) - estimate(document) <= len(blocks) + 2
    shares = [block.shown(total_tokens(blocks))["share"] for block in blocks]
    assert sum(shares) == pytest.approx(1, abs=0.01)


def test_the_same_content_has_the_same_digest_wherever_it_stands() -> None:
    first, _, third = prompt_blocks(
        {"messages": [{"content": "a"}, {"content": "b"}, {"content": "a"}]}
    )
    assert first.digest == third.digest


def test_a_model_s_text_is_read_as_it_is() -> None:
    assert readable_text(MESSAGES["messages"][2]) == "the text"
    assert readable_text({"type": "text", "text": "plain"}) == "plain"
    assert json.loads(readable_text(MESSAGES["tools"][0])) == MESSAGES["tools"][0]


def test_a_long_text_is_cut_in_its_middle() -> None:
    text = "a" * SHOWN_CHARACTERS + "b" * SHOWN_CHARACTERS
    shown = cut_in_middle(text)
    assert shown.startswith("aaa")
    assert shown.endswith("bbb")
    assert f"{SHOWN_CHARACTERS:,} characters" in shown


def test_a_body_that_is_no_object_has_no_document() -> None:
    assert [document_of(Part(body=body)) for body in ("", "[1]", '{"a":', "text")] == [None] * 4


@pytest.mark.parametrize("name", ["content", "text"])
def test_a_deeply_nested_part_is_shown_as_json(name: str) -> None:
    deepest: Any = "hello"
    for _ in range(300):
        deepest = [{name: deepest}]
    (block,) = prompt_blocks({"messages": [{"role": "user", "content": deepest}]})
    assert "hello" in block.text
