"""A Messages request says what it means, and what is lost is named."""

from __future__ import annotations

from typing import Any

import pytest

from shared.formats.envelope import wrap
from shared.formats.ir import (
    Citation,
    Document,
    Image,
    Message,
    Opaque,
    Part,
    Prompt,
    Reasoning,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    WebSearch,
)
from shared.formats.messages.request_in import read_prompt
from shared.runtime.errors import ClientError, ThreadNotFound


def read(**fields: Any) -> Prompt:
    return read_prompt(
        {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    )


def read_part(block: dict[str, Any], role: str = "user") -> Part:
    (part,) = read(messages=[{"role": role, "content": [block]}]).messages[0].parts
    return part


def test_the_smallest_request() -> None:
    prompt = read()
    assert prompt == Prompt(
        "m", (Message("user", (Text("hi"),)),), max_tokens=9, include_usage=True
    )


def test_every_setting_is_carried() -> None:
    prompt = read(
        system=[
            {"type": "text", "text": "be good", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
        ],
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        stop_sequences=["END"],
        stream=True,
        thinking={"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
        output_config={
            "effort": "high",
            "format": {"type": "json_schema", "schema": {"type": "object"}},
        },
        metadata={"user_id": "u"},
        service_tier="auto",
        cache_control={"type": "ephemeral"},
        tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    )
    assert prompt.system == (Text("be good", cache="1h"),)
    assert (prompt.temperature, prompt.top_p, prompt.top_k, prompt.stop) == (0.5, 0.9, 3, ("END",))
    assert prompt.reasoning == Reasoning("high", 2048, "enabled", "omitted")
    assert prompt.response_format == ResponseFormat({"type": "object"})
    assert (prompt.user, prompt.service_tier, prompt.cache, prompt.stream) == (
        "u",
        "auto",
        "5m",
        True,
    )
    assert (prompt.tool_choice, prompt.parallel_tools) == (ToolChoice("named", "f"), False)
    assert prompt.dropped == ()


def test_the_retired_spelling_of_the_output_format_is_read() -> None:
    assert read(
        output_format={"type": "json_schema", "schema": {}}
    ).response_format == ResponseFormat({})


def test_what_cannot_be_carried_is_named() -> None:
    prompt = read(
        context_management={"edits": []},
        brand_new_field=1,
        container=None,
        speed="standard",
        diagnostics={},
        metadata={"user_id": "u", "other": 1},
        output_config={"task_budget": 1},
    )
    assert set(prompt.dropped) == {
        "context_management",
        "brand_new_field",
        "metadata.other",
        "output_config.task_budget",
    }
    assert read(speed="fast").dropped == ("speed",)


def test_a_thread_is_begun_but_never_continued_without_what_came_before() -> None:
    assert read(thread={"type": "create"}).dropped == ("thread",)
    with pytest.raises(ThreadNotFound):
        read(thread={"type": "continue", "previous_message_id": "msg_1"})


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "text", "text": "t", "cache_control": {"type": "ephemeral"}},
            Text("t", cache="5m"),
        ),
        (
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "AA=="},
            },
            Image("image/png", "AA=="),
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            Image(url="https://example.com/a.png"),
        ),
        (
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
            Image(file_id="file_1"),
        ),
        (
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="},
                "title": "T",
                "context": "C",
                "citations": {"enabled": True},
            },
            Document("application/pdf", "AA==", name="T", context="C", citations=True),
        ),
        (
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "x"},
            },
            Document("text/plain", text="x"),
        ),
        (
            {
                "type": "document",
                "source": {
                    "type": "content",
                    "content": [{"type": "text", "text": s} for s in "ab"],
                },
            },
            Document("text/plain", text="a\nb"),
        ),
        (
            {"type": "document", "source": {"type": "content", "content": "x"}},
            Document("text/plain", text="x"),
        ),
        (
            {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
            Document(url="https://example.com/a.pdf"),
        ),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, Document(file_id="f")),
        (
            {
                "type": "search_result",
                "source": "https://example.com",
                "title": "T",
                "content": [{"type": "text", "text": "found"}],
            },
            Text("T\nhttps://example.com\n\nfound"),
        ),
        (
            {"type": "tool_result", "tool_use_id": "1", "content": "ok", "is_error": True},
            ToolResult("1", (Text("ok"),), is_error=True),
        ),
        ({"type": "tool_result", "tool_use_id": "1"}, ToolResult("1")),
        (
            {
                "type": "tool_result",
                "tool_use_id": "1",
                "content": [{"type": "tool_reference", "tool_name": "f"}],
            },
            ToolResult("1", (Opaque("anthropic", {"type": "tool_reference", "tool_name": "f"}),)),
        ),
        (
            {"type": "container_upload", "file_id": "f"},
            Opaque("anthropic", {"type": "container_upload", "file_id": "f"}),
        ),
    ],
)
def test_a_users_block(block: dict[str, Any], part: Part) -> None:
    assert read_part(block) == part


def test_an_assistants_blocks() -> None:
    cited = {
        "type": "web_search_result_location",
        "url": "https://example.com",
        "title": "T",
        "cited_text": "c",
    }
    citation = Citation("https://example.com", "T", vendor="anthropic", data=cited)
    assert read_part({"type": "text", "text": "t", "citations": [cited]}, "assistant") == Text(
        "t", (citation,)
    )
    assert read_part({"type": "thinking", "thinking": "t", "signature": "s"}) == Thinking(
        "t", "s", "anthropic"
    )
    assert read_part({"type": "thinking", "thinking": "t", "signature": ""}) == Thinking("t")
    assert read_part({"type": "redacted_thinking", "data": "d"}) == Thinking(
        "", "d", "anthropic", redacted=True
    )
    call = {"type": "tool_use", "id": "1", "name": "f", "input": {"a": "é"}}
    assert read_part(call, "assistant") == ToolCall("1", "f", '{"a":"é"}')


def test_another_vendors_reasoning_is_unwrapped_and_takes_its_text_from_the_block() -> None:
    signature = wrap(Thinking("", "encrypted", "openai", "rs_1"))
    part = read_part(
        {"type": "thinking", "thinking": "summary", "signature": signature}, "assistant"
    )
    assert part == Thinking("summary", "encrypted", "openai", "rs_1")


def test_tools_are_functions_web_search_or_the_vendors_own() -> None:
    bash = {"type": "bash_20250124", "name": "bash"}
    tools = [
        {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True},
        {"type": "custom", "name": "g", "input_schema": {}, "cache_control": {"type": "ephemeral"}},
        {
            "type": "web_search_20260209",
            "name": "web_search",
            "max_uses": 2,
            "allowed_domains": ["a.com"],
            "user_location": {"type": "approximate", "country": "AT"},
        },
        bash,
    ]
    assert read(tools=tools).tools == (
        Tool("f", "d", {"type": "object"}, True),
        Tool("g", schema={}, cache="5m"),
        WebSearch(("a.com",), (), 2, {"country": "AT"}),
        Opaque("anthropic", bash),
    )


def test_claude_codes_attribution_is_not_told_to_another_vendors_model() -> None:
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: v=1;"},
        {"type": "text", "text": "be good"},
    ]
    assert read(system=system).system == (Text("be good"),)
    assert read(system="be good").system == (Text("be good"),)


def test_a_system_message_in_mid_conversation_stays_where_it_is() -> None:
    message = {"role": "system", "content": [{"type": "text", "text": "be brief"}]}
    assert read(messages=[message]).messages == (Message("system", (Text("be brief"),)),)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"model": None}, "'model'"),
        ({"messages": "hi"}, "'messages'"),
        ({"messages": [{"role": "tool", "content": "x"}]}, r"messages\[0\].role"),
        ({"messages": [{"role": "user", "content": 1}]}, r"messages\[0\].content"),
        (
            {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
            r"messages\[0\].content\[0\].type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            r"'messages\[0\].content\[0\].source'",
        ),
        ({"tools": [{"input_schema": {}}]}, r"tools\[0\].name"),
        ({"tool_choice": {"type": "some"}}, "tool_choice"),
        ({"thinking": {"type": "deep"}}, "thinking.type"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ClientError, match=complaint):
        read(**fields)


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (
            {
                "type": "text",
                "text": "t",
                "citations": [{"type": "char_location", "cited_text": "c"}],
            },
            "citations",
        ),
        ({"type": "text", "text": "t", "citations": []}, ""),
        (
            {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}},
            "",
        ),
        (
            {"type": "tool_use", "id": "t", "name": "f", "input": {}, "toolset_name": "browser"},
            "toolset_name",
        ),
        (
            {
                "type": "image",
                "source": {"type": "url", "url": "https://x.test/a"},
                "transformations": {"oversized_image": "error"},
            },
            "transformations",
        ),
        ({"type": "text", "text": "t", "cache_control": {"type": "ephemeral"}}, ""),
    ],
)
def test_a_field_of_a_block_that_no_other_vendor_is_told_is_named(
    block: dict[str, Any], named: str
) -> None:
    expected = (f"messages[].content[].{named}",) if named else ()
    assert read(messages=[{"role": "user", "content": [block]}]).dropped == expected


def test_fields_of_blocks_inside_results_documents_and_the_system_are_named_too() -> None:
    cited = {"type": "text", "text": "t", "citations": [{"type": "char_location"}]}
    document = {"type": "document", "source": {"type": "content", "content": [cited]}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [cited]}
    dropped = read(
        system=[cited], messages=[{"role": "user", "content": [document, result]}]
    ).dropped
    assert dropped == (
        "system[].citations",
        "messages[].content[].source.content[].citations",
        "messages[].content[].content[].citations",
    )


def test_what_only_anthropic_knows_of_its_web_search_is_named() -> None:
    search = {
        "type": "web_search_20250305",
        "name": "web_search",
        "max_uses": 2,
        "allowed_callers": ["direct"],
    }
    assert read(tools=[search | {"defer_loading": False}]).dropped == ("tools[].allowed_callers",)
