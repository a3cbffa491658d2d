from __future__ import annotations

import pytest

from sdk_worker.turn import read_turn
from shared.runtime.errors import ClientError, ThreadNotFound
from shared.runtime.exact_json import load_json

TOOL = {"name": "find", "input_schema": {"type": "object"}}


def ask(*messages, **fields):
    return {"model": "m", "max_tokens": 10, "messages": list(messages) or [user("hi")], **fields}


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


def spoken(feed):
    return [(line["type"], line["message"]["content"]) for line in [*feed.history, feed.prompt]]


def text(said):
    return [{"type": "text", "text": said}]


def test_the_last_message_asks_and_the_others_are_remembered():
    feed = read_turn(ask(user("one"), assistant("two"), user("three")))
    assert spoken(feed) == [
        ("user", text("one")),
        ("assistant", text("two")),
        ("user", text("three")),
    ]
    assert feed.history[0]["shouldQuery"] is False
    assert "shouldQuery" not in feed.prompt


def test_messages_of_one_role_in_a_row_are_one_turn():
    assert spoken(read_turn(ask(user("one"), user("two")))) == [("user", text("one") + text("two"))]


def test_an_agent_run_shown_as_one_message_is_fed_back_as_the_messages_it_was():
    use = {
        "type": "tool_use_sdk",
        "id": "t1",
        "name": "Bash",
        "input": {},
        "source": "claude_code_sdk",
    }
    result = {
        "type": "tool_result_sdk",
        "tool_use_id": "t1",
        "content": "ok",
        "is_error": None,
        "source": "x",
    }
    about = {"type": "result_message", "num_turns": 2}
    feed = read_turn(
        ask(user("go"), assistant([*text("look"), use, result, *text("done"), about]), user("more"))
    )
    assert spoken(feed)[1:4] == [
        (
            "assistant",
            [*text("look"), {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}],
        ),
        ("user", [{"type": "tool_result", "tool_use_id": "t1", "content": "ok", "is_error": None}]),
        ("assistant", text("done")),
    ]


def test_a_system_message_in_the_middle_is_a_reminder():
    feed = read_turn(ask(user("one"), {"role": "system", "content": "be brief"}))
    assert spoken(feed)[0][1][1]["text"] == "<system-reminder>\nbe brief\n</system-reminder>"


def test_what_a_process_is_told_comes_from_the_request():
    feed = read_turn(
        ask(system=text("S"), thinking={"type": "enabled", "budget_tokens": 2000}),
        working_directory="/w",
    )
    assert (feed.binding.system, feed.binding.model, feed.binding.max_tokens) == (("S",), "m", 10)
    assert feed.binding.thinking == 2000
    assert feed.launch.cwd == "/w"
    assert feed.launch.own_tools


@pytest.mark.parametrize(
    ("thinking", "read"),
    [(None, None), ({"type": "disabled"}, 0), ({"type": "adaptive"}, "adaptive")],
)
def test_thinking_is_off_adaptive_or_unasked(thinking, read):
    assert read_turn(ask(thinking=thinking)).binding.thinking == read


def test_what_cannot_be_carried_is_named():
    marked = {**text("x")[0], "cache_control": {"type": "ephemeral"}}
    feed = read_turn(
        ask(user([marked]), temperature=1, top_p=0.5, stop_sequences=["."], stream=True)
    )
    assert feed.ignored == ["stop_sequences", "temperature", "top_p", "cache_control"]
    assert spoken(feed) == [("user", text("x"))]


def test_a_part_of_a_conversation_is_not_taken_for_the_whole():
    assert read_turn(ask(thread={"type": "create"})).ignored == ["thread"]
    with pytest.raises(ThreadNotFound):
        read_turn(ask(thread={"type": "continue", "previous_message_id": "msg_1"}))


def test_the_clients_tools_take_the_place_of_the_programs_own():
    call = {"type": "tool_use", "id": "t1", "name": "find", "input": {}}
    feed = read_turn(ask(user("hi"), assistant([call]), user("x"), tools=[TOOL]))
    assert not feed.launch.own_tools
    assert feed.history[1]["message"]["content"][0]["name"] == "mcp__client__find"


def test_tools_the_client_does_not_want_used_are_not_offered():
    assert read_turn(ask(tools=[TOOL], tool_choice={"type": "none"})).binding.tools == b""


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": ""}]}, r"messages\.0\.role"),
        ({"messages": [{"role": "user", "content": [1]}]}, r"messages\.0\.content"),
        ({"messages": [user("x"), assistant("Once")]}, "messages"),
        ({"messages": [user("")]}, "messages"),
        ({"system": 1}, "system"),
        ({"model": 1}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"thinking": {"type": "deep"}}, "thinking"),
        ({"tools": {"name": "x"}}, "tools"),
        ({"tools": [1]}, r"tools\.0"),
        (
            {
                "tools": [{"type": "web_search_20250305", "name": "w"}],
                "tool_choice": {"type": "tool", "name": "w"},
            },
            "tool_choice",
        ),
        ({"tools": [{"name": "x"}]}, r"tools\.0"),
        ({"tools": [TOOL], "tool_choice": {"type": "any"}}, "tool_choice"),
    ],
)
def test_what_would_change_the_answers_meaning_is_refused_by_name(fields, named):
    with pytest.raises(ClientError, match=named):
        read_turn(ask(**fields))


@pytest.mark.parametrize(
    "kind", ["web_search_20250305", "code_execution_20250825", "bash_20250124", "mcp_toolset"]
)
def test_a_tool_of_the_providers_servers_is_left_out_and_named(kind):
    feed = read_turn(ask(tools=[{"type": kind, "name": "theirs"}, TOOL]))
    assert load_json(feed.binding.tools) == [TOOL]
    assert feed.ignored == [f"tools[].{kind}"]


def test_a_tools_type_that_no_header_can_carry_is_named_by_its_field():
    assert read_turn(ask(tools=[{"type": "a\r\nb: c", "name": "x"}])).ignored == ["tools"]


def test_metadata_that_says_which_conversation_and_where_was_heeded():
    assert read_turn(ask(metadata={"session_id": "s", "cwd": "/srv"})).ignored == []
    assert read_turn(ask(metadata={"user_id": "u"})).ignored == ["metadata"]


@pytest.mark.parametrize("value", [2**70, "\ud83d"])
def test_a_tool_keeps_numbers_and_halves_of_characters_that_not_every_reader_of_json_takes(value):
    schema = {"type": "object", "properties": {"a": {"const": value}}}
    binding = read_turn(ask(tools=[{"name": "find", "input_schema": schema}])).binding
    assert load_json(binding.tools)[0]["input_schema"] == schema


def test_what_stands_inside_carried_fields_and_has_no_place_in_the_program_is_named():
    feed = read_turn(
        ask(
            system=[{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
            tools=[TOOL | {"strict": True, "defer_loading": False}],
            tool_choice={"type": "auto", "disable_parallel_tool_use": True},
            thinking={"type": "adaptive", "display": "summarized"},
        )
    )
    assert feed.ignored == [
        "tools[].strict",
        "cache_control",
        "thinking.display",
        "tool_choice.disable_parallel_tool_use",
    ]


@pytest.mark.parametrize(
    "block", [{"type": {}}, {"type": []}, {"type": None}, {"type": "tool_use", "id": "t"}]
)
def test_a_block_without_a_type_or_name_that_is_a_text_is_refused(block):
    with pytest.raises(ClientError):
        read_turn(ask(user([block]), user("hi"), tools=[TOOL]))


@pytest.mark.parametrize("role", [{}, [], None, 7])
def test_a_role_that_is_no_text_is_refused(role):
    with pytest.raises(ClientError, match="role"):
        read_turn(ask({"role": role, "content": "hi"}))


@pytest.mark.parametrize("system", [[1], ["text"], [None], [{"type": "text"}], 7])
def test_a_system_prompt_of_another_form_is_refused(system):
    with pytest.raises(ClientError, match="system"):
        read_turn(ask(system=system))


@pytest.mark.parametrize("field", ["thinking", "tool_choice"])
@pytest.mark.parametrize("value", [7, "auto", ["x"]])
def test_a_setting_of_another_form_is_refused(field, value):
    with pytest.raises(ClientError, match=field):
        read_turn(ask(**{field: value}))
