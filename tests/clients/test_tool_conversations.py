"""Conversations of ten requests with a tool, held by each official SDK as its users write them, on
every route.

Five rounds of two requests: the model speaks and calls a tool, the client sends the result, the
model answers with it. The SDK's settings are its defaults. The Responses client sends all items
again when it reads whole replies, and names the response before (`previous_response_id`) when it
streams. On `/sdk` each request starts a program of its own, which takes a second or more: those are
marked `conformance`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.clients.conftest import TOKEN
from tests.support.simulator_fixture import GroundTruth
from tests.support.stack import Stack

pytestmark = pytest.mark.long

MODELS = {"api": "claude-sonnet-5-5", "codex": "gpt-5.5", "sdk": "claude-sonnet-5-5"}
CITIES = ("Bern", "Oslo", "Lima", "Rome", "Cork")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
ABOUT: dict[str, Any] = {"name": "weather", "description": "The weather in a city"}

Turns = list[Any]
Step = tuple[list[tuple[str, str, str]], str]  # the calls (id, name, arguments), the text


def ask(city: str) -> str:
    """Return a prompt that makes the model call the tool; behind /sdk a client's tool has a longer
    name.
    """
    call = json.dumps({"city": city})
    return f"[[tool:weather {call}]][[tool:mcp__client__weather {call}]]"


def weather(arguments: str) -> str:
    return f"sunny in {json.loads(arguments)['city']}"


class Messages:
    """A conversation of the Anthropic SDK."""

    def __init__(self, url: str, route: str, *, streamed: bool) -> None:
        self.client = Anthropic(base_url=f"{url}/{route}", api_key=TOKEN)
        self.asking = {
            "model": MODELS[route],
            "max_tokens": 1000,
            "tools": [ABOUT | {"input_schema": SCHEMA}],
        }
        self.streamed = streamed
        self.turns: Turns = []

    def say(self, text: str) -> Step:
        self.turns.append({"role": "user", "content": text})
        return self.step()

    def answer(self, calls: list[tuple[str, str, str]]) -> Step:
        results = [
            {"type": "tool_result", "tool_use_id": call_id, "content": weather(arguments)}
            for call_id, _, arguments in calls
        ]
        self.turns.append({"role": "user", "content": results})
        return self.step()

    def step(self) -> Step:
        if self.streamed:
            with self.client.messages.stream(messages=self.turns, **self.asking) as stream:
                reply = stream.get_final_message()
        else:
            reply = self.client.messages.create(messages=self.turns, **self.asking)
        self.turns.append({"role": "assistant", "content": reply.content})
        uses = [block for block in reply.content if block.type == "tool_use"]
        assert reply.stop_reason == ("tool_use" if uses else "end_turn")
        text = "".join(block.text for block in reply.content if block.type == "text")
        return [(use.id, use.name, json.dumps(use.input)) for use in uses], text


class ChatCompletions:
    """A conversation of the OpenAI SDK in Chat Completions."""

    def __init__(self, url: str, route: str, *, streamed: bool) -> None:
        self.client = OpenAI(base_url=f"{url}/{route}/v1", api_key=TOKEN)
        function = {"type": "function", "function": ABOUT | {"parameters": SCHEMA}}
        self.asking = {"model": MODELS[route], "tools": [function]}
        self.streamed = streamed
        self.turns: Turns = []

    def say(self, text: str) -> Step:
        self.turns.append({"role": "user", "content": text})
        return self.step()

    def answer(self, calls: list[tuple[str, str, str]]) -> Step:
        for call_id, _, arguments in calls:
            self.turns.append(
                {"role": "tool", "tool_call_id": call_id, "content": weather(arguments)}
            )
        return self.step()

    def step(self) -> Step:
        if self.streamed:
            with self.client.chat.completions.stream(messages=self.turns, **self.asking) as stream:
                choice = stream.get_final_completion().choices[0]
        else:
            choice = self.client.chat.completions.create(
                messages=self.turns, **self.asking
            ).choices[0]
        self.turns.append(choice.message)
        calls = choice.message.tool_calls or []
        assert choice.finish_reason == ("tool_calls" if calls else "stop")
        found = [(call.id, call.function.name, call.function.arguments) for call in calls]
        return found, choice.message.content or ""


class Responses:
    """A conversation of the OpenAI SDK in Responses."""

    def __init__(self, url: str, route: str, *, streamed: bool) -> None:
        self.client = OpenAI(base_url=f"{url}/{route}/v1", api_key=TOKEN)
        function = {"type": "function", **ABOUT, "parameters": SCHEMA}
        self.asking = {"model": MODELS[route], "tools": [function]}
        self.streamed = streamed
        self.turns: Turns = []

    def say(self, text: str) -> Step:
        self.turns.append({"role": "user", "content": text})
        return self.step()

    def answer(self, calls: list[tuple[str, str, str]]) -> Step:
        for call_id, _, arguments in calls:
            self.turns.append(
                {"type": "function_call_output", "call_id": call_id, "output": weather(arguments)}
            )
        return self.step()

    def step(self) -> Step:
        if self.streamed:
            with self.client.responses.stream(input=self.turns, **self.asking) as stream:
                reply = stream.get_final_response()
            self.asking["previous_response_id"] = reply.id
            self.turns = []
        else:
            reply = self.client.responses.create(input=self.turns, **self.asking)
            self.turns += reply.output
        assert reply.status == "completed"
        calls = [item for item in reply.output if item.type == "function_call"]
        return [(call.call_id, call.name, call.arguments) for call in calls], reply.output_text


@pytest.mark.timeout(180)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "route", ["api", "codex", pytest.param("sdk", marks=pytest.mark.conformance)]
)
@pytest.mark.parametrize("sdk", [Messages, ChatCompletions, Responses])
def test_an_sdk_holds_a_conversation_of_ten_requests_with_a_tool(
    stack: Stack, truth: GroundTruth, sdk: Callable[..., Any], route: str, streamed: bool
) -> None:
    conversation = sdk(stack.url, route, streamed=streamed)
    called = []
    with conversation.client:
        for city in CITIES:
            calls, _ = conversation.say(ask(city))
            assert [(name, json.loads(arguments)) for _, name, arguments in calls] == [
                ("weather", {"city": city})
            ]
            called += calls
            none, text = conversation.answer(calls)
            assert none == []
            assert f"sunny in {city}" in text
    assert len({call_id for call_id, _, _ in called}) == len(CITIES), (
        "every call has an id of its own"
    )
    requests = [seen for seen in truth.requests() if seen.method == "POST"]
    assert {seen.status for seen in requests} == {200}
    last = requests[-1].raw.decode()
    assert all(f"sunny in {city}" in last for city in CITIES), (
        "the provider reads the whole conversation"
    )
