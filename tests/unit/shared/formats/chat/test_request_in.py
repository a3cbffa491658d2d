"""Every field of a Chat Completions request is carried, dropped by name, or refused by name."""

from __future__ import annotations

import typing
from dataclasses import replace

import pytest
from openai.types.chat import completion_create_params

from shared.formats.chat import FIELDS, read_prompt
from shared.formats.ir import (
    Message,
    Prompt,
    Reasoning,
    ResponseFormat,
    Text,
    Tool,
    ToolChoice,
    WebSearch,
)
from shared.runtime.errors import ClientError

HI = [{"role": "user", "content": "Hi"}]
EMPTY = Prompt(model="m", messages=(Message("user", (Text("Hi"),)),))
WEATHER = {"type": "function", "function": {"name": "weather"}}
SHELL = {"type": "custom", "custom": {"name": "shell"}}
SCHEMA = {"type": "object", "properties": {}}
OLD = {"name": "old", "description": "d", "parameters": SCHEMA}


def read(**fields) -> Prompt:
    return read_prompt({"model": "m", "messages": HI, **fields})


CARRIED = [
    ({"stream": True}, {"stream": True}),
    (
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "include_usage": True},
    ),
    ({"stream_options": {"include_obfuscation": False}}, {}),
    ({"max_completion_tokens": 5}, {"max_tokens": 5}),
    ({"max_tokens": 5}, {"max_tokens": 5}),
    ({"max_tokens": 5, "max_completion_tokens": 5}, {"max_tokens": 5}),
    ({"temperature": 0}, {"temperature": 0}),
    ({"temperature": 1}, {}),
    ({"top_p": 0.5}, {"top_p": 0.5}),
    ({"top_p": 1.0}, {}),
    ({"stop": "END"}, {"stop": ("END",)}),
    ({"stop": ["a", "b"]}, {"stop": ("a", "b")}),
    ({"reasoning_effort": "xhigh"}, {"reasoning": Reasoning(effort="xhigh", summary="auto")}),
    ({"verbosity": "low"}, {"verbosity": "low"}),
    ({"verbosity": "medium"}, {}),
    ({"service_tier": "priority"}, {"service_tier": "priority"}),
    ({"service_tier": "auto"}, {}),
    ({"prompt_cache_key": "k"}, {"cache_key": "k"}),
    ({"user": "u"}, {"user": "u"}),
    ({"safety_identifier": "s", "user": "s"}, {"user": "s"}),
    ({"safety_identifier": "s", "user": "u"}, {"user": "s", "dropped": ("user",)}),
    ({"metadata": {"a": "b"}}, {"metadata": {"a": "b"}}),
    ({"metadata": {}}, {}),
    ({"response_format": {"type": "text"}}, {}),
    ({"response_format": {"type": "json_object"}}, {"response_format": ResponseFormat()}),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": SCHEMA, "strict": True},
            }
        },
        {"response_format": ResponseFormat(SCHEMA, "n", None, True)},
    ),
    ({"web_search_options": {}}, {"tools": (WebSearch(),)}),
    (
        {
            "web_search_options": {
                "search_context_size": "low",
                "user_location": {"type": "approximate", "approximate": {"country": "DE"}},
            }
        },
        {"tools": (WebSearch(location={"country": "DE"}, context_size="low"),)},
    ),
    ({"tool_choice": "auto"}, {}),
    ({"tool_choice": "none"}, {}),
    ({"parallel_tool_calls": False}, {}),
]

TOOLS = [
    ({}, {}),
    ({"tool_choice": "required"}, {"tool_choice": ToolChoice("required")}),
    ({"tool_choice": "none"}, {"tool_choice": ToolChoice("none")}),
    ({"tool_choice": WEATHER}, {"tool_choice": ToolChoice("named", "weather")}),
    ({"tool_choice": SHELL}, {"tool_choice": ToolChoice("named", "shell")}),
    (
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [SHELL]},
            }
        },
        {"tool_choice": ToolChoice("required", allowed=("shell",))},
    ),
    ({"parallel_tool_calls": False}, {"parallel_tools": False}),
    ({"parallel_tool_calls": True}, {"parallel_tools": True}),
]


@pytest.mark.parametrize(("fields", "expected"), CARRIED)
def test_a_field_is_carried(fields, expected) -> None:
    assert read(**fields) == replace(EMPTY, **expected)


@pytest.mark.parametrize(("fields", "expected"), TOOLS)
def test_a_choice_among_tools_is_carried(fields, expected) -> None:
    tools = (Tool("weather"), Tool("shell", kind="custom"))
    assert read(tools=[WEATHER, SHELL], **fields) == replace(EMPTY, tools=tools, **expected)


def test_tools_are_carried_whole() -> None:
    function = {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}
    grammar = {"syntax": "lark", "definition": "start: /a/"}
    custom = {"name": "c", "description": "d", "format": {"type": "grammar", "grammar": grammar}}
    tools = [
        {"type": "function", "function": function, "cache_control": {"type": "ephemeral"}},
        {"type": "custom", "custom": custom},
        {"type": "custom", "custom": {"name": "t", "format": {"type": "text"}}},
    ]
    assert read(tools=tools).tools == (
        Tool("f", "d", SCHEMA, strict=True, cache="5m"),
        Tool("c", "d", kind="custom", grammar=grammar),
        Tool("t", kind="custom"),
    )


DROPPED = [
    ({"seed": 7}, "seed"),
    ({"frequency_penalty": 0.1}, "frequency_penalty"),
    ({"presence_penalty": -1}, "presence_penalty"),
    ({"logit_bias": {"50256": -100}}, "logit_bias"),
    ({"store": True}, "store"),
    ({"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
    ({"prompt_cache_options": {"mode": "explicit"}}, "prompt_cache_options"),
    ({"stream_options": {"chunk_size": 3}}, "stream_options.chunk_size"),
    ({"web_search_options": {"filters": {}}, "tools": []}, "web_search_options.filters"),
    ({"tools": [{**WEATHER, "defer": True}]}, "tools[].defer"),
    ({"messages": [{**HI[0], "name": "Ada"}]}, "messages[].name"),
    ({"messages": [{**HI[0], "weight": 0}, {**HI[0], "weight": 1}]}, "messages[].weight"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "", "id": 1}]}]},
        "messages[].content[].id",
    ),
]


@pytest.mark.parametrize(("fields", "name"), DROPPED)
def test_what_cannot_be_carried_is_dropped_by_name(fields, name) -> None:
    assert read(**fields).dropped == (name,)


HARMLESS = {
    "frequency_penalty": 0.0,
    "presence_penalty": 0,
    "logit_bias": {},
    "store": False,
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "modalities": ["text"],
    "prompt_cache_retention": "in_memory",
    "prompt_cache_options": {"mode": "implicit", "ttl": "30m"},
}


def test_defaults_and_nulls_mean_nothing() -> None:
    assert read(**HARMLESS) == EMPTY
    assert read(**dict.fromkeys(FIELDS.keys() - {"model", "messages"})) == EMPTY


def test_the_table_names_exactly_the_fields_of_the_interface() -> None:
    declared = typing.get_type_hints(
        completion_create_params.CompletionCreateParamsStreaming
    ).keys()
    assert FIELDS.keys() == declared


REFUSED = [
    ({"n": 2}, "n"),
    ({"logprobs": True}, "logprobs"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "ash", "format": "mp3"}}, "audio"),
    ({"moderation": {"model": "x"}}, "moderation"),
    ({"top_k": 4}, "top_k"),
    ({"model": None}, "model"),
    ({"model": 4}, "model"),
    ({"messages": None}, "messages"),
    ({"messages": "Hi"}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": ["Hi"]}, "messages[0]"),
    ({"stream": 1}, "stream"),
    ({"stream_options": []}, "stream_options"),
    ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": "5"}, "max_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"max_completion_tokens": 5, "max_tokens": 6}, "max_tokens"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": "0"}, "temperature"),
    ({"top_p": -0.1}, "top_p"),
    ({"stop": 5}, "stop"),
    ({"stop": ["a", 5]}, "stop[1]"),
    ({"stop": list("abcde")}, "stop"),
    ({"reasoning_effort": "huge"}, "reasoning_effort"),
    ({"verbosity": "mute"}, "verbosity"),
    ({"service_tier": "gold"}, "service_tier"),
    ({"metadata": []}, "metadata"),
    ({"response_format": "json"}, "response_format"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        "response_format.json_schema.name",
    ),
    (
        {"web_search_options": {"search_context_size": "all"}},
        "web_search_options.search_context_size",
    ),
    ({"tools": {}}, "tools"),
    ({"tools": [5]}, "tools[0]"),
    ({"tools": [{}]}, "tools[0].type"),
    ({"tools": [{"type": "mcp"}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"tools": [WEATHER, {"type": "function", "function": {}}]}, "tools[1].function.name"),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": "{}"}}]},
        "tools[0].function.parameters",
    ),
    (
        {"tools": [{"type": "custom", "custom": {"name": "f", "format": {"type": "x"}}}]},
        "tools[0].custom.format.type",
    ),
    ({"functions": [OLD]}, "functions"),
    ({"tools": [WEATHER], "function_call": {"name": "weather"}}, "function_call"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [WEATHER], "tool_choice": "maybe"}, "tool_choice"),
    ({"tools": [WEATHER], "tool_choice": {}}, "tool_choice.type"),
    ({"tools": [WEATHER], "tool_choice": 5}, "tool_choice"),
    ({"tools": [WEATHER], "tool_choice": SHELL}, "tool_choice.custom.name"),
    ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
    (
        {
            "tools": [WEATHER],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [SHELL]},
            },
        },
        "tool_choice.allowed_tools.tools[0].custom.name",
    ),
]


@pytest.mark.parametrize(("fields", "path"), REFUSED)
def test_what_cannot_be_taken_is_refused_by_path(fields, path) -> None:
    with pytest.raises(ClientError) as caught:
        read(**fields)
    assert caught.value.param == path
    assert path in caught.value.message


def test_an_unknown_field_is_refused_in_openais_words() -> None:
    with pytest.raises(ClientError) as caught:
        read(top_k=4)
    assert caught.value.message == "Unrecognized request argument supplied: top_k"
