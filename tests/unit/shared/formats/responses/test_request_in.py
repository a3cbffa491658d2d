"""Every field of a Responses request is carried, ignored, dropped by name or refused by name."""

from __future__ import annotations

import pytest

from shared.formats.ir import (
    Message,
    Opaque,
    Reasoning,
    ResponseFormat,
    Text,
    Tool,
    ToolChoice,
    WebSearch,
)
from shared.formats.responses.local_shell import LOCAL_SHELL
from shared.formats.responses.request_in import FIELDS, read_prompt
from shared.runtime.errors import ClientError

HELLO = {"model": "m", "input": "hi"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def read(**fields):
    return read_prompt(HELLO | fields)


def user(text):
    return {"role": "user", "content": text}


CARRIED = [
    ("instructions", "be brief", "system", (Text("be brief"),)),
    ("parallel_tool_calls", False, "parallel_tools", False),
    ("max_output_tokens", 5, "max_tokens", 5),
    ("temperature", 0.5, "temperature", 0.5),
    ("top_p", 0.5, "top_p", 0.5),
    ("metadata", {"a": "b"}, "metadata", {"a": "b"}),
    ("prompt_cache_key", "k", "cache_key", "k"),
    ("service_tier", "flex", "service_tier", "flex"),
    ("user", "u", "user", "u"),
    ("safety_identifier", "s", "user", "s"),
    ("stream", True, "stream", True),
    (
        "reasoning",
        {"effort": "high", "summary": "auto"},
        "reasoning",
        Reasoning("high", summary="auto"),
    ),
    ("reasoning", {"generate_summary": "concise"}, "reasoning", Reasoning(summary="concise")),
    ("text", {"verbosity": "low"}, "verbosity", "low"),
    ("text", {"format": {"type": "text"}}, "response_format", None),
    ("text", {"format": {"type": "json_object"}}, "response_format", ResponseFormat()),
    (
        "text",
        {
            "format": {
                "type": "json_schema",
                "name": "n",
                "schema": SCHEMA,
                "strict": True,
                "description": "d",
            }
        },
        "response_format",
        ResponseFormat(SCHEMA, "n", "d", True),
    ),
    ("tool_choice", "required", "tool_choice", ToolChoice("required")),
    ("tool_choice", {"type": "function", "name": "f"}, "tool_choice", ToolChoice("named", "f")),
    ("tool_choice", {"type": "custom", "name": "c"}, "tool_choice", ToolChoice("named", "c")),
    (
        "tool_choice",
        {
            "type": "allowed_tools",
            "mode": "required",
            "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}],
        },
        "tool_choice",
        ToolChoice("required", allowed=("f", "web_search")),
    ),
    ("include", ["reasoning.encrypted_content"], "dropped", ()),
]


@pytest.mark.parametrize(("field", "value", "attribute", "expected"), CARRIED)
def test_a_carried_field_arrives_and_nothing_is_dropped(field, value, attribute, expected):
    prompt = read(**{field: value})
    assert getattr(prompt, attribute) == expected
    assert prompt.dropped == ()


def test_the_table_of_carried_fields_is_proved_whole():
    proved = {field for field, *_ in CARRIED} | {"model", "input", "messages", "tools"}
    assert proved == {field for field, fate in FIELDS.items() if fate.kind == "carried"}


@pytest.mark.parametrize(
    "field", [field for field, fate in FIELDS.items() if fate.kind == "dropped"]
)
def test_a_dropped_field_is_named(field):
    assert read(**{field: {"any": "value"}}).dropped == (field,)


@pytest.mark.parametrize(
    "field", [field for field, fate in FIELDS.items() if fate.kind == "refused"]
)
def test_a_refused_field_is_named_in_the_error(field):
    with pytest.raises(ClientError, match=f"'{field}'") as caught:
        read(**{field: {"any": "value"}})
    assert caught.value.param == field


@pytest.mark.parametrize(("field", "fate"), FIELDS.items())
def test_a_default_value_costs_nothing(field, fate):
    required = {"model", "input"}
    for value in fate.defaults + (() if field in required else (None,)):
        assert read(**{field: value}).dropped == ()


def test_a_field_from_the_future_is_dropped_by_name():
    assert read(brand_new={"a": 1}).dropped == ("brand_new",)


@pytest.mark.parametrize(
    ("fields", "dropped"),
    [
        ({"reasoning": {"effort": "low", "context": "all_turns"}}, ("reasoning.context",)),
        ({"text": {"format": {"type": "text", "odd": 1}}}, ("text.format.odd",)),
        (
            {"tools": [{"type": "function", "name": "f", "defer_loading": True}] * 2},
            ("tools[].defer_loading",),
        ),
        (
            {"tools": [{"type": "web_search", "external_web_access": False}]},
            ("tools[].external_web_access",),
        ),
        ({"include": ["web_search_call.results"]}, ("include.web_search_call.results",)),
        ({"tool_choice": {"type": "file_search"}}, ("tool_choice",)),
    ],
)
def test_what_is_lost_inside_a_field_is_named_once(fields, dropped):
    assert read(**fields).dropped == dropped


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{"role": "narrator", "content": "x"}]}, "input[0].role"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "input[0].content[0]",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input[0].content[0].text",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].image_url",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
            "input[0].content[0].file_data",
        ),
        (
            {
                "input": [
                    {"role": "system", "content": [{"type": "input_image", "file_id": "file-1"}]}
                ]
            },
            "input[0].content",
        ),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"input": [{"type": "compaction_trigger"}]}, "input[0]"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": {"type": "function"}}, "tools"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"reasoning": {"effort": "extreme"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_path(fields, param):
    with pytest.raises(ClientError) as caught:
        read(**fields)
    assert caught.value.param == param
    assert param in caught.value.message


def test_a_string_is_one_user_message():
    assert read().messages == (Message("user", (Text("hi"),)),)


def test_the_spelling_messages_is_taken_when_there_is_no_input():
    assert read_prompt({"model": "m", "messages": [user("hi")]}).messages == (
        Message("user", (Text("hi"),)),
    )


def test_tools_of_every_kind_are_read():
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
    prompt = read(
        tools=[
            {
                "type": "function",
                "name": "f",
                "description": "d",
                "parameters": SCHEMA,
                "strict": False,
            },
            {"type": "custom", "name": "c", "format": grammar},
            {"type": "custom", "name": "free", "description": "d", "format": {"type": "text"}},
            {
                "type": "namespace",
                "name": "ns",
                "description": "",
                "tools": [{"type": "function", "name": "g"}],
            },
            {
                "type": "namespace",
                "name": "nt",
                "description": "N.",
                "tools": [{"type": "custom", "name": "h"}],
            },
            {"type": "local_shell"},
            {
                "type": "web_search_preview",
                "filters": {"allowed_domains": ["x.test"]},
                "user_location": {"type": "approximate", "country": "DE", "city": None},
                "search_context_size": "low",
            },
            {"type": "mcp", "server_label": "s"},
        ]
    )
    assert prompt.tools == (
        Tool("f", "d", SCHEMA, False),
        Tool("c", kind="custom", grammar={"syntax": "lark", "definition": "start: x"}),
        Tool("free", "d", kind="custom"),
        Tool("g", namespace="ns"),
        Tool("h", "N.", kind="custom", namespace="nt"),
        LOCAL_SHELL,
        WebSearch(("x.test",), location={"country": "DE"}, context_size="low"),
        Opaque("openai", {"type": "mcp", "server_label": "s"}),
    )


def codex_message(number, role, *texts):
    return {
        "type": "message",
        "id": f"msg_{number}",
        "role": role,
        "content": [{"type": "input_text", "text": text} for text in texts],
        "internal_chat_message_metadata_passthrough": {
            "turn_id": "t",
            "content_item_kinds": ["user.text"],
        },
    }


CODEX_TOOLS = [
    {
        "type": "function",
        "name": "exec_command",
        "strict": False,
        "description": "Runs.",
        "parameters": SCHEMA,
    },
    {
        "type": "custom",
        "name": "apply_patch",
        "description": "Patches.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
    },
    {
        "type": "namespace",
        "name": "agents",
        "description": "Others.",
        "tools": [{"type": "function", "name": "spawn", "strict": False, "parameters": SCHEMA}],
    },
    {"type": "web_search", "external_web_access": True},
]
CODEX_BODY = {
    "model": "gpt-5.5",
    "stream": True,
    "input": [
        codex_message(1, "developer", "You are Codex."),
        codex_message(2, "developer", "<skills>", "<permissions>"),
        codex_message(3, "user", "<environment_context>"),
        codex_message(4, "user", "hi"),
    ],
    "tools": CODEX_TOOLS,
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "medium"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "session",
    "text": {"verbosity": "low"},
    "client_metadata": {"session_id": "session"},
}


def test_a_codex_request_is_read_without_losing_a_word():
    prompt = read_prompt(CODEX_BODY)
    assert prompt.system == (Text("You are Codex."), Text("<skills>"), Text("<permissions>"))
    assert prompt.messages == (Message("user", (Text("<environment_context>"), Text("hi"))),)
    assert [(tool.namespace, tool.name) for tool in prompt.tools if isinstance(tool, Tool)] == [
        ("", "exec_command"),
        ("", "apply_patch"),
        ("agents", "spawn"),
    ]
    assert prompt.cache_key == "session"
    assert prompt.reasoning == Reasoning("medium")
    assert prompt.dropped == ("client_metadata", "tools[].external_web_access")


def test_the_lite_codex_request_brings_its_tools_as_an_item():
    lite = {
        **CODEX_BODY,
        "input": [
            {"type": "additional_tools", "id": "at_1", "role": "developer", "tools": CODEX_TOOLS}
        ],
    }
    del lite["tools"]
    lite["input"] = [*lite["input"], *CODEX_BODY["input"]]
    assert read_prompt(lite).tools == read_prompt(CODEX_BODY).tools
    assert read_prompt(lite).messages == read_prompt(CODEX_BODY).messages


def test_a_user_beside_another_safety_identifier_is_named():
    assert read(user="a", safety_identifier="b").dropped == ("user",)
    assert read(user="a", safety_identifier="a").dropped == ()
