"""Prompts as the Messages service takes them, for models of every generation."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.accounts.models import claude_capabilities
from shared.formats.ir import (
    Capabilities,
    Image,
    Json,
    Message,
    Opaque,
    Part,
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
    Written,
)
from shared.formats.messages.request_in import read_prompt
from shared.formats.messages.request_out import DEFAULT_MAX_TOKENS, write_prompt
from shared.formats.property_keys import wire_key
from shared.runtime.errors import ClientError

NEW = claude_capabilities("claude-opus-5-5", [])
OPUS_5 = claude_capabilities("claude-opus-5", [])
OPUS_4_7 = claude_capabilities("claude-opus-4-7", [])
OLD = claude_capabilities("claude-sonnet-4-5", [])

USER = Message("user", (Text("hi"),))
SIGNED = Thinking("hm", "sig", "anthropic")
TOOLS = (Tool("f"), Tool("g"))


def assistant(*parts: Part) -> Message:
    return Message("assistant", parts)


def user(*parts: Part) -> Message:
    return Message("user", parts)


def write(*messages: Message, model: Capabilities = NEW, **settings: Any) -> Written:
    return write_prompt(Prompt("m", messages or (USER,), **settings), model)


def shape(body: Json) -> list[tuple[str, list[str]]]:
    return [
        (turn["role"], [block["type"] for block in turn["content"]]) for turn in body["messages"]
    ]


def test_the_smallest_request_says_no_more_than_it_must() -> None:
    assert write() == Written(
        {
            "model": "m",
            "max_tokens": DEFAULT_MAX_TOKENS,
            "stream": True,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        },
        (),
    )


def test_what_the_reader_dropped_is_still_told() -> None:
    assert write(dropped=("seed",)).dropped == ("seed",)


# --- conversation ---


def test_results_follow_their_calls_in_call_order_before_any_text() -> None:
    body = write(
        USER,
        assistant(Text("both"), ToolCall("1", "f"), ToolCall("2", "g")),
        user(ToolResult("2", (Text("two"),))),
        user(Text("by the way"), ToolResult("1", (Text("one"),), is_error=True)),
    ).body
    assert shape(body)[1:] == [
        ("assistant", ["text", "tool_use", "tool_use"]),
        ("user", ["tool_result", "tool_result", "text"]),
    ]
    one, two = body["messages"][2]["content"][:2]
    assert one == {
        "type": "tool_result",
        "tool_use_id": "1",
        "content": [{"type": "text", "text": "one"}],
        "is_error": True,
    }
    assert two["tool_use_id"] == "2"


def test_calls_and_results_listed_one_by_one_become_turns() -> None:
    messages = (USER, assistant(ToolCall("1", "f")), assistant(ToolCall("2", "g")))
    answers = (
        user(ToolResult("2")),
        user(ToolResult("1")),
        assistant(ToolCall("3", "f")),
        user(ToolResult("3")),
    )
    body = write(*messages, *answers).body
    assert shape(body) == [
        ("user", ["text"]),
        ("assistant", ["tool_use", "tool_use"]),
        ("user", ["tool_result", "tool_result"]),
        ("assistant", ["tool_use"]),
        ("user", ["tool_result"]),
    ]
    assert "content" not in body["messages"][2]["content"][0], "an empty result has no content"


def test_a_result_that_comes_late_is_brought_to_its_call() -> None:
    body = write(
        USER, assistant(ToolCall("1", "f")), user(Text("wait")), user(ToolResult("1"))
    ).body
    assert shape(body)[2] == ("user", ["tool_result", "text"])


def test_an_unanswered_call_and_an_orphan_result_are_refused() -> None:
    with pytest.raises(ClientError, match="'1' of the tool 'f' has no result") as caught:
        write(USER, assistant(ToolCall("1", "f")), user(Text("next")))
    assert caught.value.param == "messages"
    with pytest.raises(ClientError, match="answers no call: '9'"):
        write(USER, user(ToolResult("9")))


def test_an_id_that_had_to_change_is_the_same_on_call_and_result() -> None:
    body = write(USER, assistant(ToolCall("call:1", "f")), user(ToolResult("call:1"))).body
    call, result = body["messages"][1]["content"][0], body["messages"][2]["content"][0]
    assert call["id"] == result["tool_use_id"] != "call:1"


def test_blank_text_is_left_out_and_refusals_are_text() -> None:
    body = write(
        user(Text(" \n"), Text("hi")), assistant(Text(""), Refusal("no")), USER, system=(Text(""),)
    ).body
    assert shape(body) == [("user", ["text"]), ("assistant", ["text"]), ("user", ["text"])]
    assert "system" not in body


def test_signed_thinking_goes_back_unchanged_and_foreign_thinking_stays_out() -> None:
    redacted = Thinking("", "data", "anthropic", redacted=True)
    written = write(
        USER,
        assistant(SIGNED, redacted, Thinking("x", "enc", "openai"), Thinking("y"), Text("a")),
        USER,
    )
    assert written.body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "data"},
        {"type": "text", "text": "a"},
    ]
    assert written.dropped == ("reasoning",)


def test_a_system_message_keeps_its_place_where_the_model_has_the_role() -> None:
    messages = (USER, assistant(Text("a")), Message("system", (Text("be brief"),)), USER)
    assert [role for role, _ in shape(write(*messages).body)] == [
        "user",
        "assistant",
        "system",
        "user",
    ]
    body = write(*messages, model=OPUS_4_7).body
    assert body["messages"][2]["content"][0]["text"] == "<system>\nbe brief\n</system>"
    assert [role for role, _ in shape(body)] == ["user", "assistant", "user"]


def test_own_blocks_pass_and_foreign_ones_are_named() -> None:
    ours, theirs = {"type": "container_upload", "file_id": "f"}, {"type": "computer_call"}
    written = write(user(Text("hi"), Opaque("anthropic", ours), Opaque("openai", theirs)))
    assert written.body["messages"][0]["content"][1] == ours
    assert written.dropped == ("messages.computer_call",)


def test_the_last_assistant_message_is_continued_only_by_models_that_can() -> None:
    assert (
        write(USER, assistant(Text("Once ")), model=OLD).body["messages"][-1]["content"][0]["text"]
        == "Once"
    )
    with pytest.raises(ClientError, match="does not continue"):
        write(USER, assistant(Text("Once")))


def test_images_in_results_are_carried() -> None:
    image = Image(url="https://example.com/a.png")
    body = write(USER, assistant(ToolCall("1", "f")), user(ToolResult("1", (image,)))).body
    assert body["messages"][2]["content"][0]["content"][0]["type"] == "image"


# --- tools ---


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


# --- settings ---


@pytest.mark.parametrize(
    ("reasoning", "model", "thinking", "effort", "dropped"),
    [
        (Reasoning(), NEW, None, None, ()),
        (Reasoning("high"), NEW, {"type": "adaptive"}, "high", ()),
        (Reasoning("minimal"), NEW, {"type": "adaptive"}, "low", ()),
        (Reasoning("none"), NEW, {"type": "adaptive"}, "low", ("reasoning_effort",)),
        (Reasoning("none"), OPUS_5, {"type": "disabled"}, None, ()),
        (
            Reasoning("high", summary="auto"),
            NEW,
            {"type": "adaptive", "display": "summarized"},
            "high",
            (),
        ),
        (Reasoning(mode="enabled", budget=4000), NEW, {"type": "adaptive"}, "low", ()),
        (
            Reasoning(mode="enabled", budget=4000),
            OPUS_5,
            {"type": "enabled", "budget_tokens": 4000},
            "low",
            (),
        ),
        (Reasoning(mode="disabled"), NEW, {"type": "adaptive"}, "low", ("reasoning_effort",)),
        (Reasoning("low", mode="disabled"), OPUS_5, {"type": "disabled"}, "low", ()),
        (Reasoning(mode="between_tools"), NEW, {"type": "adaptive"}, None, ()),
        (
            Reasoning("max", mode="adaptive"),
            replace(NEW, efforts=frozenset({"low", "high"})),
            {"type": "adaptive"},
            "high",
            ("reasoning_effort",),
        ),
        (Reasoning("low"), OLD, {"type": "enabled", "budget_tokens": 2048}, None, ()),
        (Reasoning("none"), OLD, {"type": "disabled"}, None, ()),
        (Reasoning("high"), Capabilities(), None, None, ("reasoning_effort",)),
        (Reasoning("none"), Capabilities(), None, None, ()),
    ],
)
def test_how_hard_to_think(
    reasoning: Reasoning,
    model: Capabilities,
    thinking: Json | None,
    effort: str | None,
    dropped: tuple[str, ...],
) -> None:
    written = write(reasoning=reasoning, model=model)
    assert written.body.get("thinking") == thinking
    assert written.body.get("output_config", {}).get("effort") == effort
    assert written.dropped == dropped


@given(
    st.sampled_from(["minimal", "low", "medium", "high", "xhigh", "max"]),
    st.none() | st.integers(1, 200_000),
    st.none() | st.integers(1024, 100_000),
)
def test_a_budget_always_leaves_room_for_the_answer(
    effort: str, max_tokens: int | None, budget: int | None
) -> None:
    body = write(reasoning=Reasoning(effort, budget), max_tokens=max_tokens, model=OLD).body
    assert 0 < body["max_tokens"] <= OLD.max_output
    if "thinking" in body:
        assert 1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"]


def test_a_budget_is_given_up_when_a_tool_turn_goes_on_without_signed_thinking() -> None:
    call, result = ToolCall("1", "f"), user(ToolResult("1"))
    settings: dict[str, Any] = {"tools": TOOLS, "reasoning": Reasoning("low"), "model": OLD}
    unsigned = write(USER, assistant(call), result, **settings)
    assert ("thinking" in unsigned.body, unsigned.dropped) == (False, ("reasoning_effort",))
    assert "thinking" in write(USER, assistant(SIGNED, call), result, **settings).body


def test_a_forced_tool_wins_over_thinking() -> None:
    for model in (OLD, OPUS_5):
        written = write(
            tools=TOOLS,
            tool_choice=ToolChoice("required"),
            reasoning=Reasoning("high"),
            model=model,
        )
        assert ("thinking" in written.body, written.dropped) == (False, ("reasoning_effort",))


@pytest.mark.parametrize(
    ("settings", "model", "sent", "dropped"),
    [
        (
            {"temperature": 0.5, "top_p": 0.5, "top_k": 1},
            NEW,
            {},
            ("temperature", "top_p", "top_k"),
        ),
        ({"temperature": 1, "top_p": 1}, NEW, {}, ()),
        ({"temperature": 0.5, "top_p": 0.5}, OLD, {"temperature": 0.5}, ("top_p",)),
        ({"top_p": 0.5, "top_k": 1}, OLD, {"top_p": 0.5, "top_k": 1}, ()),
        ({"temperature": 1.5}, OLD, {"temperature": 1}, ("temperature",)),
        ({"temperature": 0}, OLD, {"temperature": 0}, ()),
        ({"temperature": 0.5, "reasoning": Reasoning("low")}, OLD, {}, ("temperature",)),
    ],
)
def test_sampling(
    settings: dict[str, Any], model: Capabilities, sent: Json, dropped: tuple[str, ...]
) -> None:
    written = write(model=model, **settings)
    assert {
        name: written.body[name]
        for name in ("temperature", "top_p", "top_k")
        if name in written.body
    } == sent
    assert written.dropped == dropped


def test_max_tokens_beyond_the_model_is_cut_and_named() -> None:
    written = write(max_tokens=10**6)
    assert (written.body["max_tokens"], written.dropped) == (NEW.max_output, ("max_tokens",))


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


def test_the_small_settings() -> None:
    written = write(
        stop=("END", " "),
        user="u",
        metadata={"a": 1},
        verbosity="low",
        service_tier="flex",
        cache="5m",
        cache_key="ignored: Anthropic's cache has no key",
    )
    assert written.body["stop_sequences"] == ["END"]
    assert written.body["metadata"] == {"user_id": "u"}
    assert written.body["service_tier"] == "standard_only"
    assert written.body["cache_control"] == {"type": "ephemeral"}
    assert set(written.dropped) == {"stop", "metadata", "verbosity", "service_tier"}
    assert write(service_tier="priority").body["service_tier"] == "auto"


def test_of_too_many_cache_marks_the_last_four_stay() -> None:
    texts = [Text(str(number), cache="1h" if number == 5 else "5m") for number in range(6)]
    written = write(user(*texts[1:]), system=(texts[0],))
    marks = [block.get("cache_control") for block in written.body["messages"][0]["content"]]
    assert marks == [None, *[{"type": "ephemeral"}] * 3, {"type": "ephemeral", "ttl": "1h"}]
    assert "cache_control" not in written.body["system"][0]
    assert written.dropped == ("cache_control",)


# --- stability ---


TURN = st.builds(
    lambda number, texts, thought: (
        user(Text(f"question {number}")),
        assistant(
            *thought,
            *(
                ToolCall(f"call:{number}.{i}", "f", json.dumps({"q": t}))
                for i, t in enumerate(texts)
            ),
        ),
        *(
            user(ToolResult(f"call:{number}.{i}", (Text(t),)))
            for i, t in reversed(list(enumerate(texts)))
        ),
        assistant(Text(f"answer {number}")),
    ),
    st.integers(0, 10**9),
    st.lists(st.text(min_size=1), max_size=3),
    st.sampled_from([(), (SIGNED,)]),
)


@given(
    st.lists(TURN, min_size=10, max_size=10, unique_by=lambda turn: turn[0]),
    st.sampled_from([NEW, OPUS_4_7, OLD]),
)
def test_a_longer_conversation_begins_with_the_bytes_of_the_shorter(
    turns: list[tuple[Message, ...]], model: Capabilities
) -> None:
    system, tools = (
        (Text("be good"),),
        (Tool("f", "d", {"type": "object"}), Tool("p", kind="custom")),
    )
    before = ""
    for count in range(len(turns)):
        messages = (*(message for turn in turns[:count] for message in turn), turns[count][0])
        prompt = Prompt("m", messages, system, tools, reasoning=Reasoning("low"))
        body = write_prompt(prompt, model).body
        assert json.dumps(body) == json.dumps(write_prompt(prompt, model).body)
        prefix = json.dumps([body["system"], body["tools"], body["messages"]]).removesuffix("]]")
        assert prefix.startswith(before)
        before = prefix


def test_reading_what_was_written_gives_the_prompt_back() -> None:
    prompt = Prompt(
        "m",
        (
            user(Text("hi", cache="5m"), Image("image/png", "iVBORw0K")),
            assistant(SIGNED, Text("calling"), ToolCall("1", "f", '{"a":1}')),
            user(ToolResult("1", (Text("ok"),), is_error=True), Text("go on")),
        ),
        (Text("be good", cache="1h"),),
        (Tool("f", "d", {"type": "object", "properties": {}}), WebSearch(("a.com",), max_uses=2)),
        ToolChoice("named", "f"),
        parallel_tools=False,
        max_tokens=4096,
        temperature=0.5,
        stop=("END",),
        service_tier="auto",
        cache="5m",
        user="u",
        stream=True,
        include_usage=True,
    )
    written = write_prompt(prompt, OLD)
    assert written.dropped == ()
    assert read_prompt(written.body) == prompt


def test_an_instruction_that_only_a_blank_turn_precedes_is_the_systems() -> None:
    told = Message("system", (Text("Be brief."),))
    body = write(user(Text(" ")), told, USER).body
    assert body["system"] == [{"type": "text", "text": "Be brief."}]
    assert shape(body) == [("user", ["text"])]


def test_an_instruction_after_the_assistants_last_word_is_told_in_the_users_turn() -> None:
    body = write(USER, assistant(Text("hello")), Message("system", (Text("Go on."),))).body
    assert body["messages"][-1] == {
        "role": "user",
        "content": [{"type": "text", "text": "<system>\nGo on.\n</system>"}],
    }


def test_a_conversation_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(ClientError, match="nothing is said"):
        write(user(Text(" ")))


@pytest.mark.parametrize("mode", ["adaptive", "enabled"])
def test_a_model_that_thinks_takes_no_temperature(mode: str) -> None:
    model = claude_capabilities("claude-opus-4-6", [])
    written = write(model=model, reasoning=Reasoning(mode=mode), temperature=0.5)  # type: ignore[arg-type]
    assert "temperature" not in written.body
    assert written.dropped == ("temperature",)
    without = write(model=model, reasoning=Reasoning(mode="disabled"), temperature=0.5)
    assert without.body["temperature"] == 0.5


def test_settings_that_anthropic_has_no_word_for_are_named() -> None:
    picture = Image(url="https://x.test/a.png", detail="low")
    written = write(
        user(picture),
        assistant(Text("hm", phase="commentary")),
        USER,
        reasoning=Reasoning(summary="auto"),
    )
    assert set(written.dropped) == {"detail", "phase", "summary"}


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
