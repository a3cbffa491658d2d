"""The items of a request become messages, each by its speaker and in order."""

from __future__ import annotations

import pytest

from shared.formats.envelope import wrap
from shared.formats.ir import (
    Document,
    Image,
    Message,
    Opaque,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from shared.formats.responses.local_shell import shell_action
from shared.formats.responses.request_in import read_prompt
from shared.runtime.errors import ClientError


def read_items(*items):
    return read_prompt({"model": "m", "input": list(items)})


def call(call_id, name="f", **more):
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}"} | more


def output(call_id, text="ok"):
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def user(text):
    return {"role": "user", "content": text}


def test_leading_instructions_are_the_prompts_own_and_later_ones_keep_their_place():
    prompt = read_prompt(
        {
            "model": "m",
            "instructions": "one",
            "input": [
                {"role": "developer", "content": "two"},
                {"role": "system", "content": [{"type": "input_text", "text": "three"}]},
                user("hi"),
                {"role": "developer", "content": "four"},
                user("go"),
            ],
        }
    )
    assert prompt.system == (Text("one"), Text("two"), Text("three"))
    assert prompt.messages == (
        Message("user", (Text("hi"),)),
        Message("system", (Text("four"),)),
        Message("user", (Text("go"),)),
    )


def test_neighbouring_items_of_one_speaker_are_one_message():
    prompt = read_items(
        user("hi"),
        {
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "let me look"},
                {"type": "refusal", "refusal": "no"},
            ],
            "phase": "commentary",
        },
        call("a"),
        call("b", "g", namespace="ns"),
        output("b"),
        output(
            "a",
            [{"type": "input_text", "text": "seen"}, {"type": "input_image", "file_id": "file-1"}],
        ),
        user("and?"),
    )
    assert prompt.messages == (
        Message("user", (Text("hi"),)),
        Message(
            "assistant",
            (
                Text("let me look", phase="commentary"),
                Refusal("no", phase="commentary"),
                ToolCall("a", "f", "{}"),
                ToolCall("b", "g", "{}", namespace="ns"),
            ),
        ),
        Message(
            "user",
            (
                ToolResult("b", (Text("ok"),)),
                ToolResult("a", (Text("seen"), Image(file_id="file-1"))),
                Text("and?"),
            ),
        ),
    )


def test_content_parts_of_every_kind_are_read():
    content = [
        {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {}},
        {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "high"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="},
        {"type": "input_file", "file_url": "https://x.test/a.pdf"},
        {"type": "input_file", "file_id": "file-1"},
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,QUJD",
        },
    ]
    (message,) = read_items({"role": "user", "content": content}).messages
    assert message.parts[1:] == (
        Image(url="https://x.test/a.png", detail="high"),
        Image(media_type="image/png", data="iVBORw0KGgo="),
        Document(url="https://x.test/a.pdf"),
        Document(file_id="file-1"),
        Document(media_type="application/pdf", data="QUJD", name="a.pdf"),
    )


def test_a_refusal_in_the_history_stays_one():
    prompt = read_items(
        user("x"), {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
    )
    assert prompt.messages[1] == Message("assistant", (Refusal("no"),))


def test_custom_calls_and_their_outputs_keep_their_kind():
    prompt = read_items(
        {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
    )
    assert prompt.messages == (
        Message("assistant", (ToolCall("c", "apply_patch", "*** Begin", "custom"),)),
        Message("user", (ToolResult("c", (Text("done"),), kind="custom"),)),
    )


@pytest.mark.parametrize("id_field", ["id", "call_id"])
def test_a_local_shell_call_is_a_call_whose_arguments_are_its_action(id_field):
    action = {"type": "exec", "command": ["ls", "-l"], "env": {}}
    prompt = read_items(
        {
            "type": "local_shell_call",
            "id": "lsh_1",
            "call_id": "s",
            "action": action,
            "status": "completed",
        },
        {"type": "local_shell_call_output", id_field: "s", "output": "files"},
    )
    (called,) = prompt.messages[0].parts
    assert (called.id, called.name, called.kind) == ("s", "local_shell", "local_shell")
    assert shell_action(called.arguments) == action
    assert prompt.messages[1].parts == (ToolResult("s", (Text("files"),), kind="local_shell"),)


def test_reasoning_of_every_maker_is_told_apart():
    claude = Thinking("hm", "c2lnbmVk", "anthropic")
    prompt = read_items(
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": wrap(claude)},
        {
            "type": "reasoning",
            "id": "rs_2",
            "summary": [
                {"type": "summary_text", "text": "a"},
                {"type": "summary_text", "text": "b"},
            ],
            "encrypted_content": "gAAA",
        },
        {"type": "reasoning", "id": "rs_3", "summary": [{"type": "summary_text", "text": "c"}]},
    )
    assert prompt.messages[0].parts == (
        claude,
        Thinking("a\n\nb", "gAAA", "openai", "rs_2"),
        Thinking("c"),
    )


def test_an_item_only_openai_understands_stays_whole():
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search"},
    }
    assert read_items(user("x"), search).messages[1].parts == (Opaque("openai", search),)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "image_url": "https://x.test/a.png", "file_id": "file-1"},
        {
            "type": "input_file",
            "file_url": "https://x.test/a.pdf",
            "file_data": "data:application/pdf;base64,QUJD",
        },
    ],
)
def test_content_that_is_given_in_two_ways_is_refused(part):
    with pytest.raises(ClientError, match="only one"):
        read_items({"role": "user", "content": [part]})
