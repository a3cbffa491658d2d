"""Whatever a client said reaches the service in its own words, or is named as lost."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shared.formats.ir import (
    Document,
    Image,
    Message,
    Opaque,
    Prompt,
    Reasoning,
    Refusal,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    WebSearch,
)
from shared.formats.responses.request_in import read_prompt
from shared.formats.responses.request_out import write_prompt
from shared.formats.responses.target import Dialect
from shared.runtime.errors import ClientError
from tests.unit.shared.formats.responses.writing import CLOSED, MODEL, PUBLIC, SCHEMA, write

IMAGE_ITEM = {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"}


def items(*messages, **fields):
    return write(messages=messages, **fields).body["input"]


def test_every_request_is_streamed_unstored_and_asks_for_encrypted_reasoning():
    assert write(messages=(Message("user", (Text("hi"),)),)).body == {
        "model": "m",
        "instructions": "You are a helpful assistant.",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
        ],
        "reasoning": {"summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "stream": True,
    }


def test_the_public_service_needs_no_instructions():
    assert "instructions" not in write(PUBLIC).body


def test_several_instructions_are_joined_by_a_blank_line():
    assert write(system=(Text("a"), Text("b"))).body["instructions"] == "a\n\nb"


def test_a_conversation_with_tools_becomes_items_in_order():
    assert items(
        Message("user", (Text("look"), Image(media_type="image/png", data="AAAA", detail="low"))),
        Message(
            "assistant",
            (Text("a"), Text("b"), ToolCall("c1", "f"), ToolCall("c2", "p", "raw", "custom")),
        ),
        Message(
            "user",
            (
                ToolResult("c1", (Text("1"), Text("2"))),
                ToolResult("c2", is_error=True),
                Text("so?"),
            ),
        ),
        Message("system", (Text("hurry"),)),
        Message("assistant", (Refusal("no"),)),
    ) == [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
            ],
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}],
        },
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "p", "input": "raw"},
        {"type": "function_call_output", "call_id": "c1", "output": "1\n2"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "Error: "},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "so?"}]},
        {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": "hurry"}],
        },
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ]


def test_a_phase_begins_a_message_of_its_own():
    first, second = items(
        Message(
            "assistant",
            (
                Text("a", phase="commentary"),
                Refusal("no", phase="commentary"),
                Refusal("no more", phase="final_answer"),
            ),
        )
    )
    assert (first["phase"], second["phase"]) == ("commentary", "final_answer")
    assert len(first["content"]) == 2


def test_an_image_in_a_tool_result_stays_an_image():
    call = Message("assistant", (ToolCall("c", "f"),))
    failed = ToolResult("c", (Text("seen"), Image(url="https://x.test/a.png")), is_error=True)
    assert items(call, Message("user", (failed,)))[1]["output"] == [
        {"type": "input_text", "text": "Error:"},
        {"type": "input_text", "text": "seen"},
        {"type": "input_image", "image_url": "https://x.test/a.png"},
    ]


@pytest.mark.parametrize(
    ("part", "content"),
    [
        (Image(url="https://x.test/a.png", detail="low"), IMAGE_ITEM),
        (
            Document(media_type="application/pdf", data="QUJD"),
            {
                "type": "input_file",
                "filename": "document.pdf",
                "file_data": "data:application/pdf;base64,QUJD",
            },
        ),
        (
            Document(url="https://x.test/a.pdf"),
            {"type": "input_file", "file_url": "https://x.test/a.pdf"},
        ),
        (
            Document(url="https://x.test/a.pdf", name="a"),
            {"type": "input_file", "file_url": "https://x.test/a.pdf", "filename": "a"},
        ),
        (
            Document(media_type="text/plain", name="empty.txt"),
            {"type": "input_text", "text": "empty.txt\n\n"},
        ),
        (
            Document(media_type="text/plain", text="body", name="n.txt", context="why"),
            {"type": "input_text", "text": "n.txt\n\nwhy\n\nbody"},
        ),
    ],
)
def test_content_of_every_kind_is_written(part, content):
    assert items(Message("user", (part,)))[0]["content"] == [content]


@pytest.mark.parametrize("part", [Image(file_id="file_1"), Document(file_id="file_1")])
def test_a_file_of_another_provider_is_refused(part):
    with pytest.raises(ClientError, match=r"file_1.*another provider"):
        items(Message("user", (part,)))


def test_a_conversation_of_which_nothing_is_left_is_refused():
    with pytest.raises(ClientError, match="Nothing is said"):
        items(Message("assistant", (Thinking("unsigned"),)))


def test_what_a_document_cannot_tell_openai_is_named():
    part = Document(url="https://x.test/a.pdf", context="why", citations=True)
    dropped = write(messages=(Message("user", (part,)),)).dropped
    assert dropped == ("messages.citations", "messages.context")


def test_openais_own_reasoning_goes_back_and_other_reasoning_is_named_as_left_out():
    parts = (
        Thinking("why", "gAAA", "openai", "rs_1"),
        Thinking("", "gBBB", "openai"),
        Thinking("hm", "s", "anthropic"),
    )
    written = write(messages=(Message("assistant", parts),))
    assert written.body["input"] == [
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "why"}],
            "encrypted_content": "gAAA",
            "id": "rs_1",
        },
        {"type": "reasoning", "summary": [], "encrypted_content": "gBBB"},
    ]
    assert written.dropped == ("reasoning",)


def test_an_item_is_written_as_it_was_when_it_is_openais_and_named_when_it_is_not():
    parts = (
        Opaque("openai", {"type": "compaction"}),
        Opaque("anthropic", {"type": "server_tool_use"}),
    )
    written = write(messages=(Message("assistant", parts),))
    assert written.body["input"] == [{"type": "compaction"}]
    assert written.dropped == ("messages.server_tool_use",)


def test_the_cache_key_is_the_clients_and_a_user_stands_for_none():
    assert write(cache_key="k", user="u").body["prompt_cache_key"] == "k"
    assert "prompt_cache_key" not in write(user="user_1_session_2").body


@pytest.mark.parametrize("dialect", [Dialect(), Dialect(codex=False)])
def test_the_sources_of_a_search_are_asked_for_at_both_services(dialect: Dialect):
    search = Prompt("m", messages=(Message("user", (Text("hi"),)),), tools=(WebSearch(),))
    assert write_prompt(search, MODEL, dialect).body["include"] == [
        "reasoning.encrypted_content",
        "web_search_call.action.sources",
    ]
    assert write_prompt(replace(search, tools=()), MODEL, dialect).body["include"] == [
        "reasoning.encrypted_content"
    ]


def test_a_longer_conversation_begins_with_the_bytes_of_the_shorter():
    turns = (
        Message("user", (Text("a"),)),
        Message("assistant", (Text("b"),)),
        Message("user", (Text("c"),)),
    )
    short, long = (json.dumps(items(*turns[:count])) for count in (1, 3))
    assert long.startswith(short[:-1])


def test_what_was_written_reads_back_as_it_was():
    prompt = Prompt(
        "m",
        messages=(
            Message("user", (Text("hi"), Image(url="https://x.test/a.png", detail="low"))),
            Message(
                "assistant",
                (
                    Thinking("why", "gAAA", "openai", "rs_1"),
                    Text("hm", phase="commentary"),
                    ToolCall("c1", "f", '{"a":1}', namespace="ns"),
                    ToolCall("c2", "p", "raw", "custom"),
                    ToolCall("c3", "local_shell", '{"command": ["ls"], "env": {}}', "local_shell"),
                ),
            ),
            Message(
                "user",
                (
                    ToolResult("c1", (Text("1"),)),
                    ToolResult("c2", (Text("2"),), kind="custom"),
                    ToolResult("c3", (Text("3"),), kind="local_shell"),
                ),
            ),
        ),
        system=(Text("be brief"),),
        tools=(
            Tool("f", "d", SCHEMA, False, namespace="ns"),
            Tool("p", "d", kind="custom"),
            WebSearch(("x.test",)),
        ),
        tool_choice=ToolChoice("required"),
        parallel_tools=False,
        reasoning=Reasoning("high", summary="detailed"),
        response_format=ResponseFormat(CLOSED, "n", "d", True),
        verbosity="low",
        service_tier="priority",
        cache_key="k",
        stream=True,
        include_usage=True,
    )
    assert read_prompt(write_prompt(prompt, MODEL).body) == prompt
