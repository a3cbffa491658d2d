"""Whatever a client said reaches the service in its own words, or is named as lost."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from shared.formats.ir import (
    Capabilities,
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
from shared.formats.responses.request_in import LOCAL_SHELL, read_prompt
from shared.formats.responses.request_out import Dialect, openai_name, short_name, write_prompt
from shared.runtime.errors import ClientError

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = {**SCHEMA, "required": ["a"], "additionalProperties": False}
IMAGE_ITEM = {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"}
PUBLIC = Dialect(codex=False)
MODEL = Capabilities(efforts=frozenset({"low", "medium", "high", "xhigh"}), sampling=True)


def write(dialect=None, model=MODEL, **fields):
    return write_prompt(Prompt("m", **fields), model, dialect or Dialect())


def items(*messages, **fields):
    return write(messages=messages, **fields).body["input"]


# --- the frame of every request ---


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


OPERATOR = "You are the house."


@pytest.mark.parametrize(
    ("mode", "client", "instructions", "developer"),
    [
        ("override", "be brief", OPERATOR, "be brief"),
        ("override", "", OPERATOR, None),
        ("append", "be brief", f"be brief\n\n{OPERATOR}", None),
        ("append", "", OPERATOR, None),
        ("disabled", "be brief", "be brief", None),
        ("disabled", "", "You are a helpful assistant.", None),
    ],
)
def test_the_clients_instructions_always_reach_the_model(mode, client, instructions, developer):
    system = (Text(client),) if client else ()
    body = write(Dialect(mode=mode, instructions=OPERATOR), system=system).body
    assert body["instructions"] == instructions
    moved = [
        {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": developer}],
        }
    ]
    alone = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": client}]}
    ]
    assert body["input"] == (moved if developer else alone if client else [])


def test_several_instructions_are_joined_by_a_blank_line():
    assert write(system=(Text("a"), Text("b"))).body["instructions"] == "a\n\nb"


# --- conversation ---


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
        Message("assistant", (Text("a", phase="commentary"), Text("b", phase="final_answer")))
    )
    assert (first["phase"], second["phase"]) == ("commentary", "final_answer")


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


@pytest.mark.parametrize("name", ["läser", "a b", "mcp.server/read", ""])
def test_a_tool_name_is_fitted_to_openais_pattern_and_differs_from_similar_names(name):
    call = ToolCall("c", name, "{}")
    messages = (Message("assistant", (call,)), Message("user", (ToolResult("c", (Text("r"),)),)))
    body = write(
        messages=messages, tools=(Tool(name, schema=SCHEMA),), tool_choice=ToolChoice("named", name)
    ).body
    written = body["tools"][0]["name"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", written)
    assert written == body["tool_choice"]["name"] == body["input"][0]["name"] == openai_name(name)
    assert openai_name(name) != openai_name(re.sub(r"[^a-z]", "_", name) or "_")


@pytest.mark.parametrize(
    ("asked", "effort", "dropped"),
    [
        (Reasoning("high", mode="disabled"), "none", ("reasoning_effort",)),
        (Reasoning("high", 2048, "enabled"), "high", ("budget",)),
        (Reasoning(mode="between_tools"), None, ("thinking",)),
    ],
)
def test_thinking_that_openai_has_no_word_for_is_named(asked, effort, dropped):
    written = write(model=Capabilities(efforts=frozenset({"none", "low", "high"})), reasoning=asked)
    assert (written.body["reasoning"].get("effort"), written.dropped) == (effort, dropped)


def test_a_forced_tool_of_which_none_is_left_is_refused():
    tools = (Opaque("anthropic", {"type": "bash_20250124", "name": "bash"}),)
    with pytest.raises(ClientError, match="there is no tool to choose"):
        write(
            messages=(Message("user", (Text("hi"),)),),
            tools=tools,
            tool_choice=ToolChoice("required"),
        )


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


# --- names ---


def test_long_names_and_ids_are_shortened_the_same_way_everywhere():
    name, call_id = "n" * 80, "c" * 80
    body = write(
        tools=(Tool(name),),
        tool_choice=ToolChoice("named", name),
        messages=(
            Message("assistant", (ToolCall(call_id, name),)),
            Message("user", (ToolResult(call_id),)),
        ),
    ).body
    call, output = body["input"]
    assert (
        body["tools"][0]["name"] == body["tool_choice"]["name"] == call["name"] == short_name(name)
    )
    assert call["call_id"] == output["call_id"] == short_name(call_id)
    assert len(call["name"]) == len(call["call_id"]) == 64


def test_short_names_stay_and_long_ones_stay_apart():
    assert short_name("f" * 64) == "f" * 64
    assert short_name("f" * 65) != short_name("f" * 66)


# --- tools ---


CLOSED = SCHEMA | {"additionalProperties": False, "required": ["a"]}


def test_tools_of_every_kind_are_written_with_strict_said_aloud():
    tools = (
        Tool("f", "d", CLOSED, True),
        Tool("open", "d", SCHEMA, True),
        Tool("bare"),
        Tool("p", kind="custom", grammar={"syntax": "lark", "definition": "start: x"}),
        Tool("g", namespace="ns"),
        Tool("h", namespace="ns"),
        LOCAL_SHELL,
        WebSearch(("x.test",), ("bad.test",), 3, {"country": "DE"}, "low"),
        Opaque("openai", {"type": "mcp"}),
        Opaque("anthropic", {"type": "bash_20250124"}),
    )
    written = write(tools=tools)
    empty = {"type": "object", "properties": {}}
    assert written.body["tools"] == [
        {"type": "function", "name": "f", "description": "d", "parameters": CLOSED, "strict": True},
        {
            "type": "function",
            "name": "open",
            "description": "d",
            "parameters": SCHEMA,
            "strict": False,
        },
        {"type": "function", "name": "bare", "parameters": empty, "strict": False},
        {
            "type": "custom",
            "name": "p",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
        },
        {
            "type": "namespace",
            "name": "ns",
            "tools": [
                {"type": "function", "name": "g", "parameters": empty, "strict": False},
                {"type": "function", "name": "h", "parameters": empty, "strict": False},
            ],
        },
        {"type": "local_shell"},
        {
            "type": "web_search",
            "filters": {"allowed_domains": ["x.test"]},
            "user_location": {"type": "approximate", "country": "DE"},
            "search_context_size": "low",
        },
        {"type": "mcp"},
    ]
    assert written.dropped == ("tools.strict", "max_uses", "blocked_domains", "tools.bash_20250124")


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (None, "auto"),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("named", "f"), {"type": "function", "name": "f"}),
        (ToolChoice("named", "p"), {"type": "custom", "name": "p"}),
        (ToolChoice("named", "local_shell"), {"type": "local_shell"}),
    ],
)
def test_a_tool_choice_is_flat(choice, written):
    tools = (Tool("f"), Tool("p", kind="custom"), LOCAL_SHELL)
    assert write(tools=tools, tool_choice=choice).body["tool_choice"] == written


def test_only_allowed_tools_are_offered():
    body = write(
        tools=(Tool("f"), Tool("g")), tool_choice=ToolChoice("required", allowed=("g",))
    ).body
    assert [tool["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == "required"


@pytest.mark.parametrize(("asked", "written"), [(None, True), (True, True), (False, False)])
def test_parallel_calls_are_on_unless_switched_off(asked, written):
    assert write(tools=(Tool("f"),), parallel_tools=asked).body["parallel_tool_calls"] is written


def test_without_tools_nothing_is_said_about_them():
    body = write(tool_choice=ToolChoice("auto"), parallel_tools=True).body
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()


# --- settings ---

SAMPLING = {
    "max_tokens": 99,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 3,
    "stop": ("x",),
    "metadata": {"a": "b"},
    "user": "u",
}


def test_the_codex_backend_is_spared_what_it_refuses_and_the_caller_is_told():
    written = write(**SAMPLING)
    assert (
        not {"max_output_tokens", "temperature", "top_p", "metadata", "safety_identifier"}
        & written.body.keys()
    )
    assert written.dropped == tuple(SAMPLING)
    assert write(cache_key="k", user="u").dropped == ("user",)


def test_the_public_service_takes_more():
    written = write(PUBLIC, **SAMPLING)
    taken = ("max_output_tokens", "temperature", "top_p", "metadata")
    assert [written.body[name] for name in taken] == [99, 0.5, 0.5, {"a": "b"}]
    assert len(written.body["safety_identifier"]) == 32
    assert written.dropped == ("top_k", "stop")


def test_fewer_tokens_than_the_public_service_takes_become_its_fewest_and_are_named():
    written = write(PUBLIC, max_tokens=1)
    assert (written.body["max_output_tokens"], written.dropped) == (16, ("max_tokens",))


def test_defaults_are_not_worth_a_word():
    assert write(temperature=1, top_p=1).dropped == ()


def test_the_readers_losses_are_told_on():
    assert write(dropped=("seed",), top_k=1).dropped == ("seed", "top_k")


@pytest.mark.parametrize(
    ("asked", "effort", "dropped"),
    [
        (Reasoning(), None, ()),
        (Reasoning("high"), "high", ()),
        (Reasoning("minimal"), "low", ()),
        (Reasoning("none"), "low", ("reasoning_effort",)),
        (Reasoning("max"), "xhigh", ("reasoning_effort",)),
        (Reasoning("ultra"), "medium", ("reasoning_effort",)),
        (Reasoning(mode="adaptive"), None, ()),
        (Reasoning(mode="enabled", budget=4_000), "low", ()),
        (Reasoning(mode="enabled", budget=10_000), "medium", ()),
        (Reasoning(mode="enabled", budget=32_000), "high", ()),
        (Reasoning(mode="disabled"), "low", ("reasoning_effort",)),
    ],
)
def test_an_effort_becomes_the_nearest_the_model_has(asked, effort, dropped):
    written = write(reasoning=asked)
    assert written.body["reasoning"].get("effort") == effort
    assert written.dropped == dropped


def test_an_effort_stays_when_nothing_is_known_of_the_model_but_minimal_which_no_codex_model_takes():
    assert (
        write(model=Capabilities(), reasoning=Reasoning("max")).body["reasoning"]["effort"] == "max"
    )
    assert (
        write(model=Capabilities(), reasoning=Reasoning("minimal")).body["reasoning"]["effort"]
        == "low"
    )


def test_minimal_is_never_the_weakest_effort_of_a_codex_model():
    model = Capabilities(efforts=frozenset({"minimal", "low"}))
    assert write(model=model, reasoning=Reasoning("none")).body["reasoning"]["effort"] == "low"
    assert (
        write(PUBLIC, model, reasoning=Reasoning("none")).body["reasoning"]["effort"] == "minimal"
    )


@pytest.mark.parametrize(
    ("asked", "summary"),
    [
        (None, "auto"),
        ("detailed", "detailed"),
        ("summarized", "auto"),
        ("none", None),
        ("omitted", None),
    ],
)
def test_a_summary_is_asked_for_unless_the_client_wants_none(asked, summary):
    assert (
        write(reasoning=Reasoning(summary=asked)).body.get("reasoning", {}).get("summary")
        == summary
    )


def test_a_public_model_not_known_to_reason_is_not_asked_for_summaries():
    assert "reasoning" not in write(PUBLIC, Capabilities()).body


@pytest.mark.parametrize(
    ("form", "written"),
    [
        (ResponseFormat(), {"type": "json_object"}),
        (
            ResponseFormat(CLOSED, "my shape", "d", True),
            {
                "type": "json_schema",
                "name": "my_shape",
                "schema": CLOSED,
                "strict": True,
                "description": "d",
            },
        ),
        (
            ResponseFormat(SCHEMA),
            {"type": "json_schema", "name": "reply", "schema": SCHEMA, "strict": False},
        ),
    ],
)
def test_a_response_format_is_flat(form, written):
    assert write(response_format=form, verbosity="low").body["text"] == {
        "format": written,
        "verbosity": "low",
    }


@pytest.mark.parametrize(
    ("dialect", "tier", "written", "dropped"),
    [
        (Dialect(), "fast", "priority", ()),
        (Dialect(), "priority", "priority", ()),
        (Dialect(), "auto", None, ()),
        (Dialect(), "standard_only", None, ()),
        (Dialect(), "flex", None, ("service_tier",)),
        (PUBLIC, "flex", "flex", ()),
    ],
)
def test_a_service_tier_is_named_as_the_service_names_it(dialect, tier, written, dropped):
    result = write(dialect, service_tier=tier)
    assert result.body.get("service_tier") == written
    assert result.dropped == dropped


def test_a_reply_format_that_cannot_be_strict_is_an_ordinary_one_and_named():
    written = write(response_format=ResponseFormat(SCHEMA, "n", None, True))
    assert (written.body["text"]["format"]["strict"], written.dropped) == (
        False,
        ("response_format.strict",),
    )


def test_a_reply_format_without_properties_gets_empty_ones():
    written = write(response_format=ResponseFormat({"type": "object"}))
    assert written.body["text"]["format"]["schema"] == {"type": "object", "properties": {}}


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
