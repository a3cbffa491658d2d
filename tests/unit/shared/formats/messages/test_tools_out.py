"""Tools and formats of replies as the Messages service takes them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shared.formats.ir import (
    Json,
    Opaque,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    WebSearch,
)
from shared.formats.property_keys import wire_key
from shared.runtime.errors import ClientError
from tests.unit.shared.formats.messages.writing import (
    NEW,
    OPUS_5,
    TOOLS,
    USER,
    assistant,
    user,
    write,
)


def test_a_tool_without_a_schema_takes_an_empty_object() -> None:
    (tool,) = write(tools=(Tool("f"),)).body["tools"]
    assert tool == {"name": "f", "input_schema": {"type": "object", "properties": {}}}


def test_a_strict_tool_gets_a_closed_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}
    (tool,) = write(tools=(Tool("f", "d", schema, strict=True),)).body["tools"]
    assert (tool["strict"], tool["input_schema"]["additionalProperties"]) == (True, False)
    loose = write(
        tools=(Tool("f", "d", schema, strict=True),), model=replace(NEW, structured_output=False)
    )
    assert ("strict" in loose.body["tools"][0], loose.dropped) == (False, ("tools.strict",))


def test_custom_and_foreign_tools() -> None:
    grammar = {"syntax": "regex", "definition": "a+"}
    own, foreign = {"type": "bash_20250124", "name": "bash"}, {"type": "image_generation"}
    tools = (
        Tool("p", kind="custom", grammar=grammar),
        WebSearch(context_size="high"),
        Opaque("anthropic", own),
        Opaque("openai", foreign),
    )
    written = write(tools=tools)
    assert [tool["name"] for tool in written.body["tools"]] == ["p", "web_search", "bash"]
    assert written.dropped == ("tools.format", "search_context_size", "tools.image_generation")


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("auto"), True, {"type": "auto"}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("required"), None, {"type": "any"}),
        (
            ToolChoice("named", "g"),
            False,
            {"type": "tool", "name": "g", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_tool_choice(
    choice: ToolChoice | None, parallel: bool | None, expected: Json | None
) -> None:
    body = write(tools=TOOLS, tool_choice=choice, parallel_tools=parallel, model=OPUS_5).body
    assert body.get("tool_choice") == expected


def test_a_model_that_refuses_forced_tools_is_offered_only_the_one_wanted() -> None:
    named = write(tools=TOOLS, tool_choice=ToolChoice("named", "g"))
    assert ([tool["name"] for tool in named.body["tools"]], named.body["tool_choice"]) == (
        ["g"],
        {"type": "auto"},
    )
    assert named.dropped == ("tool_choice",)
    required = write(tools=TOOLS, tool_choice=ToolChoice("required"))
    assert (len(required.body["tools"]), required.dropped) == (2, ("tool_choice",))


def test_allowed_tools_narrow_what_is_offered() -> None:
    choice = ToolChoice("required", allowed=("f",))
    body = write(tools=TOOLS, tool_choice=choice, model=OPUS_5).body
    assert ([tool["name"] for tool in body["tools"]], body["tool_choice"]) == (
        ["f"],
        {"type": "any"},
    )


def test_a_choice_without_tools_is_refused_unless_it_chooses_nothing() -> None:
    assert "tool_choice" not in write(tool_choice=ToolChoice("none")).body
    with pytest.raises(ClientError, match="no tool to choose"):
        write(tool_choice=ToolChoice("required"), model=OPUS_5)


def test_the_shape_of_the_reply() -> None:
    schema = {"type": "object", "properties": {}}
    body = write(response_format=ResponseFormat(schema, "name", strict=True)).body
    assert body["output_config"] == {
        "format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}
    }
    any_object = write(system=(Text("be good"),), response_format=ResponseFormat())
    assert [block["text"] for block in any_object.body["system"]] == [
        "be good",
        "Answer with exactly one JSON object and nothing else.",
    ]
    assert any_object.dropped == ("response_format",)
    told = write(
        response_format=ResponseFormat(schema), model=replace(NEW, structured_output=False)
    )
    assert json.dumps(schema) in told.body["system"][0]["text"]
    assert told.dropped == ("response_format",)


def test_the_description_of_a_reply_format_is_told_with_its_schema() -> None:
    form = ResponseFormat(
        {"type": "object", "properties": {}, "additionalProperties": False}, "n", "A reply."
    )
    assert (
        write(response_format=form).body["output_config"]["format"]["schema"]["description"]
        == "A reply."
    )


def test_of_two_web_searches_the_service_gets_the_first() -> None:
    written = write(tools=(WebSearch(("a.test",)), WebSearch(("b.test",))))
    assert [tool["allowed_domains"] for tool in written.body["tools"]] == [["a.test"]]
    assert written.dropped == ("tools.web_search",)


@pytest.mark.parametrize("strict", [True, False])
def test_a_refused_argument_key_has_the_same_name_in_the_tool_and_in_its_calls(
    strict: bool,
) -> None:
    schema = {
        "type": "object",
        "properties": {"filter[id]": {"type": "string"}},
        "required": ["filter[id]"],
    }
    calls = assistant(
        ToolCall("1", "list", '{"filter[id]": "x", "b[c]": 1}'),
        ToolCall("2", "g", '{"filter[id]": "x"}'),
    )
    written = write(
        USER,
        calls,
        user(ToolResult("1"), ToolResult("2")),
        tools=(Tool("list", schema=schema, strict=strict), Tool("g")),
    )
    tool = written.body["tools"][0]
    (name,) = tool["input_schema"]["properties"]
    assert (name, tool.get("strict", False)) == (wire_key("filter[id]"), strict)
    inputs = [block["input"] for block in written.body["messages"][1]["content"]]
    assert inputs == [{name: "x", "b[c]": 1}, {"filter[id]": "x"}]
    assert not written.dropped, "a key that comes back is not lost"
