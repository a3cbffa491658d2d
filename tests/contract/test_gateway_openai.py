"""The official OpenAI client on Claude: chat and responses, streamed and whole, over the strict
simulator.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import openai
import orjson
import pytest
from pydantic import BaseModel

from tests.contract.conftest import OpenGateway
from tests.support.simulator_fixture import GroundTruth

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
FLAT_WEATHER: Any = {"type": "function", **WEATHER["function"]}


@pytest.fixture
async def client(gateway_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{gateway_url}/api/v1", api_key="unused", max_retries=0
    ) as opened:
        yield opened


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def streamed_text(client: openai.AsyncOpenAI, **request: Any) -> str:
    stream = await client.chat.completions.create(stream=True, **request)
    return "".join(
        [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    )


# What the simulator sends under these names has text, tools, reasoning, a refusal, pings or odd
# ends.
SCENARIOS = [
    "text",
    "long-50",
    "thinking",
    "redacted",
    "refusal",
    "pings",
    "max-tokens",
    "pause-turn",
    "empty",
    "web-search",
]


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_chat_streamed_says_what_chat_whole_says(
    client: openai.AsyncOpenAI, scenario: str
) -> None:
    request: Any = {"model": f"claude-sim-{scenario}", "messages": ask("hello")}
    whole = await client.chat.completions.create(**request)
    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            stream=True, stream_options={"include_usage": True}, **request
        )
    ]
    *chosen, last = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chosen) == (
        whole.choices[0].message.content or ""
    )
    assert chosen[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert (last.usage, last.choices) == (whole.usage, [])
    assert {chunk.model for chunk in chunks} == {whole.model} == {request["model"]}


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_responses_streamed_says_what_responses_whole_says(
    client: openai.AsyncOpenAI, scenario: str
) -> None:
    request: Any = {"model": f"claude-sim-{scenario}", "input": "hello"}
    whole = await client.responses.create(**request)
    events = [event async for event in await client.responses.create(stream=True, **request)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    streamed = events[-1].response  # type: ignore[union-attr]
    assert (streamed.output_text, streamed.status) == (whole.output_text, whole.status)
    assert [item.type for item in streamed.output] == [item.type for item in whole.output]
    assert streamed.usage == whole.usage


@pytest.mark.parametrize("scenario", ["tools-3", "interleaved"])
async def test_parallel_calls_arrive_whole_and_in_order(
    client: openai.AsyncOpenAI, scenario: str
) -> None:
    request: Any = {
        "model": f"claude-sim-{scenario}",
        "messages": ask("weather?"),
        "tools": [WEATHER],
    }
    whole = await client.chat.completions.create(**request)
    async with client.chat.completions.stream(**request) as stream:
        streamed = await stream.get_final_completion()
    calls = [
        [(call.id, call.function.arguments) for call in reply.choices[0].message.tool_calls or []]
        for reply in (whole, streamed)
    ]  # type: ignore[union-attr]
    assert len(calls[0]) >= 2
    assert [arguments for _, arguments in calls[0]] == [arguments for _, arguments in calls[1]]
    assert all(orjson.loads(arguments) is not None for _, arguments in calls[1])
    assert len({identity for identity, _ in calls[1]}) == len(calls[1])
    assert streamed.choices[0].finish_reason == "tool_calls"


async def test_ten_turns_of_a_chat_tool_loop_keep_their_prefix(
    client: openai.AsyncOpenAI, simulator: GroundTruth
) -> None:
    """What prompt caching needs: each request begins with the whole of the one before, byte by
    byte.
    """
    messages: list[Any] = [
        {"role": "system", "content": "Be brief. " * 700},
        *ask('[[tool:weather {"city":"Bern"}]]'),
    ]
    for turn in range(10):
        stream = await client.chat.completions.create(
            model="claude-sim-thinking",
            messages=messages,
            tools=[WEATHER],
            stream=True,
            reasoning_effort="low",
        )
        calls: dict[int, Any] = {}
        async for chunk in stream:
            for call in chunk.choices[0].delta.tool_calls or [] if chunk.choices else []:
                known = calls.setdefault(
                    call.index,
                    {"id": call.id, "type": "function", "function": {"name": "", "arguments": ""}},
                )
                known["function"]["name"] += (call.function and call.function.name) or ""
                known["function"]["arguments"] += (call.function and call.function.arguments) or ""
        if calls:
            messages.append(
                {"role": "assistant", "content": None, "tool_calls": list(calls.values())}
            )
            messages += [
                {"role": "tool", "tool_call_id": call["id"], "content": f"sunny {turn}"}
                for call in calls.values()
            ]
        else:
            messages += [
                {"role": "assistant", "content": f"noted {turn}"},
                *ask('[[tool:weather {"city":"Bern"}]]'),
            ]
    assert_append_only(simulator)


async def test_ten_turns_of_a_responses_tool_loop_keep_their_prefix(
    client: openai.AsyncOpenAI, simulator: GroundTruth
) -> None:
    items: list[Any] = [{"role": "user", "content": '[[tool:weather {"city":"Bern"}]]'}]
    for turn in range(10):
        reply = await client.responses.create(
            model="claude-sim-thinking",
            instructions="Be brief. " * 700,
            input=items,
            tools=[FLAT_WEATHER],
            include=["reasoning.encrypted_content"],
        )
        items += [item.model_dump(exclude_none=True) for item in reply.output]
        calls = [item for item in reply.output if item.type == "function_call"]
        items += [
            {"type": "function_call_output", "call_id": call.call_id, "output": f"sunny {turn}"}
            for call in calls
        ]
        if not calls:
            items.append({"role": "user", "content": '[[tool:weather {"city":"Bern"}]]'})
    assert_append_only(simulator)
    sealed = [
        block
        for message in simulator.last("/v1/messages").body["messages"]
        for block in message["content"]
        if block["type"] == "thinking"
    ]
    assert sealed, "signed thinking survives the loop"


def assert_append_only(simulator: GroundTruth) -> None:
    bodies = [seen.body for seen in simulator.requests("/v1/messages")]
    assert len(bodies) == 10
    for earlier, later in itertools.pairwise(bodies):
        assert {name: earlier[name] for name in ("system", "tools")} == {
            name: later[name] for name in ("system", "tools")
        }
        assert orjson.dumps(later["messages"]).startswith(orjson.dumps(earlier["messages"])[:-1])


async def test_signed_thinking_survives_a_chat_tool_loop(
    client: openai.AsyncOpenAI, simulator: GroundTruth
) -> None:
    request: Any = {"model": "claude-sim-thinking", "tools": [WEATHER], "reasoning_effort": "low"}
    messages = ask('[[tool:weather {"city":"Bern"}]]')
    first = await client.chat.completions.create(messages=messages, **request)
    message = first.choices[0].message
    messages += [message.model_dump(include={"role", "content", "tool_calls"})]
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
        for call in message.tool_calls or []
    ]
    await client.chat.completions.create(messages=messages, **request)
    turn = simulator.last("/v1/messages").body["messages"][1]["content"]
    assert turn[0]["type"] == "thinking"
    assert turn[0]["signature"]


async def test_images_and_system_messages_arrive_as_they_should(
    client: openai.AsyncOpenAI, simulator: GroundTruth
) -> None:
    parts = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
    ]
    messages: Any = [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": parts},
    ]
    await client.chat.completions.create(model="claude-sonnet-5-5", messages=messages)
    body = simulator.last("/v1/messages").body
    assert body["system"] == [{"type": "text", "text": "be kind"}]
    assert [block["type"] for block in body["messages"][0]["content"]] == ["text", "image"]


async def test_structured_output_is_parsed_by_the_client(
    client: openai.AsyncOpenAI, simulator: GroundTruth
) -> None:
    class Answer(BaseModel):
        city: str

    chat = await client.chat.completions.parse(
        model="claude-sonnet-5-5", messages=ask("where?"), response_format=Answer
    )
    assert isinstance(chat.choices[0].message.parsed, Answer)
    assert simulator.last("/v1/messages").body["output_config"]["format"]["type"] == "json_schema"
    response = await client.responses.parse(
        model="claude-sonnet-5-5", input="where?", text_format=Answer
    )
    assert isinstance(response.output_parsed, Answer)


async def test_what_is_dropped_is_named(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model="claude-sonnet-5-5", messages=ask("hi"), seed=7, temperature=0.2
    )
    assert set(raw.headers["x-ccproxy-ignored"].split(",")) == {"seed", "temperature"}


async def test_what_cannot_be_carried_is_refused_by_name(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model="claude-sonnet-5-5", messages=ask("hi"), n=2)
    assert refused.value.param == "n"


ERRORS = [
    ("400", openai.BadRequestError),
    ("401", openai.AuthenticationError),
    ("403", openai.PermissionDeniedError),
    ("404", openai.NotFoundError),
    ("429-7", openai.RateLimitError),
    ("500", openai.InternalServerError),
    ("529", openai.InternalServerError),
]


@pytest.mark.parametrize(("scenario", "expected"), ERRORS)
async def test_a_refusal_keeps_its_status_and_limits(
    client: openai.AsyncOpenAI, scenario: str, expected: type[openai.APIStatusError]
) -> None:
    for call in (
        client.chat.completions.create(
            model=f"claude-sim-{scenario}", messages=ask("hi"), stream=True
        ),
        client.responses.create(model=f"claude-sim-{scenario}", input="hi"),
    ):
        with pytest.raises(expected) as refused:
            await call
        assert refused.value.status_code == int(scenario.partition("-")[0])
        if scenario == "429-7":
            assert refused.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("scenario", ["error-2", "cut-2", "error-0"])
async def test_a_failure_of_the_stream_is_never_a_clean_end(
    client: openai.AsyncOpenAI, scenario: str
) -> None:
    """What failed before a byte had left is an HTTP error, what failed later an event: both raise,
    or end in one.
    """
    with pytest.raises(openai.APIError):
        await streamed_text(client, model=f"claude-sim-{scenario}", messages=ask("hi"))
    try:
        stream = await client.responses.create(
            model=f"claude-sim-{scenario}", input="hi", stream=True
        )
        last = [event.type async for event in stream][-1]
    except openai.APIError:
        return
    assert last == "response.failed"


async def test_an_openai_name_is_answered_by_a_claude_model_under_the_name_asked_for(
    client: openai.AsyncOpenAI, simulator: GroundTruth
) -> None:
    reply = await client.chat.completions.create(model="gpt-5.5", messages=ask("hi"))
    assert reply.model == "gpt-5.5"
    assert simulator.last("/v1/messages").body["model"].startswith("claude-sonnet")


async def test_an_unknown_name_lets_the_provider_speak(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no-such-model"):
        await client.chat.completions.create(model="no-such-model", messages=ask("hi"))


async def test_the_owner_s_aliases_hold_in_every_format(
    open_gateway_at: OpenGateway, simulator: GroundTruth
) -> None:
    url = await open_gateway_at(models={"aliases": {"fast": "claude-haiku-5-5"}})
    async with openai.AsyncOpenAI(base_url=f"{url}/api/v1", api_key="x") as client:
        assert (
            await client.chat.completions.create(model="fast", messages=ask("hi"))
        ).model == "fast"
    assert simulator.last("/v1/messages").body["model"] == "claude-haiku-5-5"


async def test_reasoning_shows_where_the_owner_wants_it(open_gateway_at: OpenGateway) -> None:
    url = await open_gateway_at(models={"chat_reasoning": "tags"})
    async with openai.AsyncOpenAI(base_url=f"{url}/api/v1", api_key="x") as client:
        text = await streamed_text(client, model="claude-sim-thinking", messages=ask("hi"))
        assert text.startswith("<thinking>")
        assert text.count("<thinking>") == 1


async def test_a_client_that_leaves_ends_the_provider_s_stream(
    client: openai.AsyncOpenAI, simulator: GroundTruth
) -> None:
    stream = await client.chat.completions.create(
        model="claude-sim-slow-20x500", messages=ask("hi"), stream=True
    )
    await anext(aiter(stream))
    await stream.close()
    async with asyncio.timeout(10):
        await simulator.until(lambda seen: [request for request in seen if request.cancelled])
