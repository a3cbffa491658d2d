"""A name that OpenAI does not take becomes one that it takes, everywhere the same."""

from __future__ import annotations

import re

import pytest

from shared.formats.ir import Message, Text, Tool, ToolCall, ToolChoice, ToolResult
from shared.formats.responses.names import openai_name, short_name
from tests.unit.shared.formats.responses.writing import SCHEMA, write


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
