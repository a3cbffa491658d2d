"""Prompts as the Messages service takes them, for models of every generation."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.accounts.models import claude_capabilities
from shared.formats.ir import (
    Image,
    Message,
    Opaque,
    Prompt,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    WebSearch,
)
from shared.formats.messages.request_in import read_prompt
from shared.formats.messages.request_out import DEFAULT_MAX_TOKENS, write_prompt
from shared.formats.written import Capabilities, Written
from shared.runtime.errors import ClientError
from tests.unit.shared.formats.messages.writing import (
    NEW,
    OLD,
    SIGNED,
    USER,
    assistant,
    shape,
    user,
    write,
)

OPUS_4_7 = claude_capabilities("claude-opus-4-7", [])


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


def test_max_tokens_beyond_the_model_is_cut_and_named() -> None:
    written = write(max_tokens=10**6)
    assert (written.body["max_tokens"], written.dropped) == (NEW.max_output, ("max_tokens",))


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


def test_the_phase_of_a_refusal_is_named() -> None:
    written = write(USER, assistant(Refusal("no", phase="commentary")), USER)
    assert set(written.dropped) == {"phase"}


def test_settings_that_anthropic_has_no_word_for_are_named() -> None:
    picture = Image(url="https://x.test/a.png", detail="low")
    written = write(
        user(picture),
        assistant(Text("hm", phase="commentary")),
        USER,
        reasoning=Reasoning(summary="auto"),
    )
    assert set(written.dropped) == {"detail", "phase", "summary"}
