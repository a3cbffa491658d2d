"""The official SDK takes the simulator for the real service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic

from tests.support.simulator_fixture import API_KEY, OAUTH_TOKEN, GroundTruth

HELLO: Any = [{"role": "user", "content": "hello"}]
WEATHER: Any = {
    "name": "weather",
    "description": "How is it there?",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


@pytest.fixture
async def claude(simulator_url: str) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=simulator_url, api_key=API_KEY, max_retries=0) as client:
        yield client


async def test_a_whole_message(claude: AsyncAnthropic) -> None:
    message = await claude.messages.create(model="claude-opus-5-5", max_tokens=100, messages=HELLO)
    assert message.content[0].to_dict() == {"type": "text", "text": "You said: hello"}
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == 4


SCENARIOS = (
    "text long big-50000 tools interleaved thinking redacted refusal pings empty pause-turn "
    "web-search slow-1x5"
)


@pytest.mark.parametrize("scenario", SCENARIOS.split())
async def test_a_stream_adds_up_to_the_whole_message(claude: AsyncAnthropic, scenario: str) -> None:
    ask: Any = {
        "model": f"claude-sim-{scenario}",
        "max_tokens": 20_000,
        "messages": HELLO,
        "tools": [WEATHER, {**WEATHER, "name": "tides"}],
    }
    whole = await claude.messages.create(**ask)
    async with claude.messages.stream(**ask) as stream:
        streamed = await stream.get_final_message()

    def comparable(message: Any) -> dict[str, Any]:
        shape: dict[str, Any] = message.to_dict()
        for block in shape["content"]:
            for varying in ("id", "signature", "parsed_output"):
                block.pop(varying, None)
            if block["type"] == "text" and not block.get("citations"):
                block.pop("citations", None)
        return {
            name: shape[name]
            for name in ("content", "stop_reason", "stop_details", "model", "role")
        }

    assert comparable(streamed) == comparable(whole)
    assert streamed.usage.output_tokens == whole.usage.output_tokens


async def test_a_tool_loop_ends(claude: AsyncAnthropic) -> None:
    messages: Any = [{"role": "user", "content": '[[tool:weather {"city":"Bern"}]]'}]
    ask: Any = {"model": "claude-haiku-5-5", "max_tokens": 1000, "tools": [WEATHER]}
    async with claude.messages.stream(messages=messages, **ask) as stream:
        first = await stream.get_final_message()
    call: Any = first.content[0]
    assert (call.name, call.input) == ("weather", {"city": "Bern"})
    messages += [
        {"role": "assistant", "content": first.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"}],
        },
    ]
    second = await claude.messages.create(messages=messages, **ask)
    assert second.content[0].to_dict()["text"] == "The tool answered: rain"


async def test_a_thinking_turn_goes_back_unchanged(claude: AsyncAnthropic) -> None:
    ask: Any = {"model": "claude-sim-thinking", "max_tokens": 1000}
    first = await claude.messages.create(messages=HELLO, **ask)
    again: Any = [
        *HELLO,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": "and?"},
    ]
    assert (await claude.messages.create(messages=again, **ask)).stop_reason == "end_turn"
    again[1]["content"][0].thinking += "!"
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature`"):
        await claude.messages.create(messages=again, **ask)


async def test_counting_and_models(claude: AsyncAnthropic) -> None:
    counted = await claude.messages.count_tokens(
        model="claude-opus-5-5", messages=HELLO, tools=[WEATHER]
    )
    assert counted.input_tokens > 20
    ids = [model.id async for model in claude.models.list(limit=4)]
    assert {"claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"} <= set(ids)
    assert (await claude.models.retrieve("claude-opus-5-5")).max_tokens == 128_000


@pytest.mark.parametrize(
    ("scenario", "error"),
    [
        ("400", anthropic.BadRequestError),
        ("401", anthropic.AuthenticationError),
        ("403", anthropic.PermissionDeniedError),
        ("404", anthropic.NotFoundError),
        ("413", anthropic.ContentTooLargeError),
        ("429", anthropic.RateLimitError),
        ("500", anthropic.InternalServerError),
        ("529", anthropic.OverloadedError),
    ],
)
async def test_statuses_become_the_sdks_errors(
    claude: AsyncAnthropic, scenario: str, error: type[anthropic.APIStatusError]
) -> None:
    with pytest.raises(error) as caught:
        await claude.messages.create(model=f"claude-sim-{scenario}", max_tokens=10, messages=HELLO)
    assert caught.value.request_id is not None
    assert type(caught.value) is error


async def test_an_error_event_in_mid_stream_is_raised(claude: AsyncAnthropic) -> None:
    async with claude.messages.stream(
        model="claude-sim-error", max_tokens=1000, messages=HELLO
    ) as stream:
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            await stream.get_final_message()


async def test_a_cut_connection_is_no_message(claude: AsyncAnthropic) -> None:
    """The SDK lets its HTTP library's error through, and that library is not ours to import."""
    async with claude.messages.stream(
        model="claude-sim-cut", max_tokens=1000, messages=HELLO
    ) as stream:
        with pytest.raises(Exception, match="incomplete chunked read"):
            await stream.get_final_message()


async def test_an_oauth_token_works_with_its_beta(simulator_url: str) -> None:
    async with AsyncAnthropic(
        base_url=simulator_url, auth_token=OAUTH_TOKEN, max_retries=0
    ) as claude:
        with pytest.raises(anthropic.AuthenticationError, match="not supported"):
            await claude.messages.create(model="claude-opus-5-5", max_tokens=10, messages=HELLO)
        headers = {"anthropic-beta": "oauth-2025-04-20"}
        raw = await claude.messages.with_raw_response.create(
            model="claude-opus-5-5", max_tokens=10, messages=HELLO, extra_headers=headers
        )
    assert raw.headers["anthropic-ratelimit-unified-status"] == "allowed"


async def test_a_repeated_prefix_is_read_from_the_cache(claude: AsyncAnthropic) -> None:
    system: Any = [
        {"type": "text", "text": "Be brief. " * 600, "cache_control": {"type": "ephemeral"}}
    ]
    ask: Any = {"model": "claude-opus-5", "max_tokens": 10, "system": system}
    first = (await claude.messages.create(messages=HELLO, **ask)).usage
    second = (
        await claude.messages.create(messages=[{"role": "user", "content": "again"}], **ask)
    ).usage
    assert first.cache_creation_input_tokens == second.cache_read_input_tokens
    assert second.cache_creation_input_tokens == 0


async def test_the_totals_are_the_sum_of_what_clients_were_told(
    claude: AsyncAnthropic, simulator: GroundTruth
) -> None:
    usages = [
        (await claude.messages.create(model="claude-opus-5", max_tokens=50, messages=HELLO)).usage
        for _ in range(3)
    ]
    totals = simulator.totals()["by_model"]["claude-opus-5"]
    assert totals["requests"] == 3
    assert totals["output_tokens"] == sum(usage.output_tokens for usage in usages)
    assert totals["input_tokens"] == sum(usage.input_tokens for usage in usages)
