"""One suite for both SDKs: the real program against the simulated provider.

`make test` runs all of it with the first SDK; test_sdk_worker_asking.py runs both.
"""

from __future__ import annotations

import asyncio
import base64

import pytest
import pytest_asyncio

from sdk_worker.claude.driver import drivers
from shared.runtime.errors import UpstreamRefused, UpstreamTimeout
from tests.support.matrix import matrix
from tests.support.sdk_stack import Delivered, body, running_stack, worker_settings

pytestmark = [pytest.mark.claude, pytest.mark.asyncio(loop_scope="module")]

PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
    )
).decode()
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=matrix(drivers()), ids=lambda driver: driver.name
)
async def stack(request, simulator_url, tmp_path_factory):
    settings = worker_settings(simulator_url, tmp_path_factory.mktemp("cwd"), pool_size=2)
    async with running_stack(settings, request.param) as running:
        yield running


def shape(body):
    """Roles with what they said, without what the program adds on its own."""
    return [
        (
            message["role"],
            block["type"],
            block.get("text") or block.get("id") or block.get("tool_use_id"),
        )
        for message in body["messages"]
        if message["role"] != "system"
        for block in blocks(message["content"])
        if not str(block.get("text")).startswith(("<system-reminder>", "[Image:"))
    ]


def blocks(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


async def test_a_turn_streams_word_by_word_and_says_what_it_came_to(stack, simulator):
    turn = await stack.answer("[[say:one two three four]]", temperature=0.5)
    assert turn.text == "one two three four"
    assert turn.message["stop_reason"] == "end_turn"
    assert (
        turn.message["usage"]["output_tokens"]
        == simulator.last("/v1/messages").usage["output_tokens"]
    )
    assert len([event for event in turn.events if event["type"] == "content_block_delta"]) > 1
    assert turn.head["worker"] == "w1"
    assert turn.head["ignored"] == ["temperature"]
    assert turn.tail["num_turns"] == 1
    assert turn.tail["cost_usd"] > 0


@pytest.mark.long
async def test_system_model_and_max_tokens_of_the_request_reach_the_provider(stack, simulator):
    await stack.answer(
        "hi", system=[{"type": "text", "text": "Speak like a pirate."}], max_tokens=777
    )
    sent = simulator.last("/v1/messages").body
    assert sent["system"][-1]["text"] == "Speak like a pirate."
    assert (sent["model"], sent["max_tokens"]) == ("claude-sonnet-4-5", 777)


async def test_a_conversation_is_fed_as_the_turns_it_was(stack, simulator):
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
    }
    history = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Q1", "cache_control": {"type": "ephemeral"}},
                image,
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "it"}}
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"}],
        },
        {"role": "assistant", "content": "A1"},
        {"role": "user", "content": "Q2"},
    ]
    turn = await stack.answer(history)
    assert turn.head["ignored"] == ["cache_control"]
    assert shape(simulator.last("/v1/messages").body) == [
        ("user", "text", "Q1"),
        ("user", "image", None),
        ("assistant", "tool_use", "toolu_1"),
        ("user", "tool_result", "toolu_1"),
        ("assistant", "text", "A1"),
        ("user", "text", "Q2"),
    ]


@pytest.mark.long
async def test_a_prompt_is_text_and_never_a_file_or_a_command(stack, simulator, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET-of-the-owner")
    await stack.answer(f"@{secret} what is this?")
    await stack.answer("/cost")
    first, second = simulator.requests("/v1/messages")
    assert b"SECRET-of-the-owner" not in first.raw
    assert shape(second.body)[-1] == ("user", "text", "/cost")


async def test_no_request_hears_of_another(stack, simulator):
    for number in range(3):
        await stack.answer(f"SECRET-{number}", system=f"SYSTEM-{number}")
    for number, seen in enumerate(simulator.requests("/v1/messages")):
        told = {
            other
            for other in range(3)
            if f"-{other}".encode() in seen.raw and f"SECRET-{other}".encode() in seen.raw
        }
        assert told == {number}


@pytest.mark.parametrize("status", [401, 404, 429, 529])
async def test_a_refusal_keeps_its_status_and_is_no_answer(stack, status):
    with pytest.raises(UpstreamRefused) as refused:
        await stack.answer(f"[[scenario:{status}]]")
    assert refused.value.status == status
    assert b'"type":"error"' in refused.value.body


@pytest.mark.long
async def test_an_answer_that_breaks_off_ends_with_an_error_and_nothing_is_told_twice(
    stack, simulator
):
    turn = await stack.answer("[[scenario:error-5]]")
    assert turn.events[-1]["type"] == "error"
    assert [event["type"] for event in turn.events].count("message_start") == 1
    assert "message_stop" not in [event["type"] for event in turn.events]


async def test_a_caller_who_leaves_ends_the_turn_everywhere(stack, simulator):
    delivered = Delivered(body=body("[[scenario:slow-50x1000]]"))
    work = asyncio.create_task(stack.worker().handle(delivered))
    await delivered.until(b"text_delta")
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await simulator.until(lambda requests: requests and requests[-1].cancelled)


@pytest.mark.long
async def test_an_agent_run_is_one_message(stack, simulator):
    turn = await stack.answer('[[tool:Bash {"command": "echo made-by-a-tool"}]]', mode="forward")
    use, result, said, *about = [
        block for block in turn.message["content"] if block["type"] != "thinking"
    ]
    assert [use["type"], result["type"], said["type"]] == [
        "tool_use_sdk",
        "tool_result_sdk",
        "text",
    ]
    assert [block["type"] for block in about] == ["system_message", "result_message"]
    assert use["input"]["command"] == "echo made-by-a-tool"
    assert "made-by-a-tool" in str(result["content"])
    assert "made-by-a-tool" in said["text"]
    spent = sum(seen.usage["output_tokens"] for seen in simulator.requests("/v1/messages"))
    assert turn.message["usage"]["output_tokens"] == spent
    assert turn.tail["num_turns"] == 2


@pytest.mark.long
async def test_without_anyone_to_ask_a_tool_that_writes_is_denied(stack, simulator):
    written = stack.settings.claude.code_options.cwd / "written"
    turn = await stack.answer(f'[[tool:Bash {{"command": "touch {written}"}}]]', mode="forward")
    [result] = [block for block in turn.message["content"] if block["type"] == "tool_result_sdk"]
    assert result["is_error"] is True
    assert not written.exists()


async def test_the_clients_own_tools_are_called_by_ending_the_reply(stack, simulator):
    asked = [{"role": "user", "content": '[[tool:mcp__client__get_weather {"city": "Bern"}]]'}]
    turn = await stack.answer(asked, tools=[WEATHER])
    [call] = turn.message["content"]
    assert (call["type"], call["name"], call["input"]) == (
        "tool_use",
        "get_weather",
        {"city": "Bern"},
    )
    assert turn.message["stop_reason"] == "tool_use"
    asked += [
        {"role": "assistant", "content": turn.message["content"]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "sunny"}],
        },
    ]
    answer = await stack.answer(asked, tools=[WEATHER])
    assert "sunny" in answer.text
    offered = [tool["name"] for tool in simulator.last("/v1/messages").body["tools"]]
    assert "Bash" not in offered


@pytest.mark.long
async def test_max_tokens_ends_the_answer_where_it_is(stack, simulator):
    turn = await stack.answer("[[scenario:max-tokens]]")
    assert turn.message["stop_reason"] == "max_tokens"
    assert (
        turn.message["usage"]["output_tokens"]
        == simulator.requests("/v1/messages")[0].usage["output_tokens"]
    )


@pytest.mark.long
async def test_thinking_is_streamed(stack, simulator):
    turn = await stack.answer(
        "[[scenario:thinking]]",
        mode="forward",
        thinking={"type": "enabled", "budget_tokens": 1024},
        max_tokens=4000,
    )
    assert turn.message["content"][0]["type"] == "thinking"
    assert turn.message["content"][0]["signature"]
    assert simulator.last("/v1/messages").body["thinking"]["budget_tokens"] == 1024


@pytest.mark.long
async def test_an_answer_of_any_length_arrives_exactly(stack, simulator):
    turn = await stack.answer("[[scenario:big-200000]]", max_tokens=64000)
    assert len(turn.text) == 200_000
    assert (
        turn.text in simulator.last("/v1/messages").sent.decode()
        or turn.message["stop_reason"] == "end_turn"
    )


@pytest.mark.long
async def test_a_turn_that_does_not_begin_in_time_is_given_up_and_so_is_its_request(
    stack, simulator
):
    with pytest.raises(UpstreamTimeout):
        await stack.worker(first_byte=2.0).handle(Delivered(body=body("[[scenario:hang]]")))
    await simulator.until(lambda requests: all(seen.cancelled for seen in requests))


@pytest.mark.long
async def test_a_silence_is_filled_with_pings_and_ends_when_it_is_too_long(stack, simulator):
    delivered = Delivered(body=body("[[scenario:stall-3]]"))
    await stack.worker(ping=0.05, idle=0.3).handle(delivered)
    kinds = [event["type"] for event in delivered.events]
    assert "ping" in kinds
    assert delivered.events[-1]["error"]["type"] == "timeout_error"
