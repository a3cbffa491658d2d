"""Tools of every kind reach the service, or are named as lost, and the choice names one of them."""

from __future__ import annotations

import pytest

from shared.formats.ir import Message, Opaque, Text, Tool, ToolChoice, WebSearch
from shared.formats.responses.local_shell import LOCAL_SHELL
from shared.runtime.errors import ClientError
from tests.unit.shared.formats.responses.writing import CLOSED, SCHEMA, write


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


def test_a_forced_tool_of_which_none_is_left_is_refused():
    tools = (Opaque("anthropic", {"type": "bash_20250124", "name": "bash"}),)
    with pytest.raises(ClientError, match="there is no tool to choose"):
        write(
            messages=(Message("user", (Text("hi"),)),),
            tools=tools,
            tool_choice=ToolChoice("required"),
        )
