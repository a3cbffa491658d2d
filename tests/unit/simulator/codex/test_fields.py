from __future__ import annotations

from typing import Any

import pytest

from tests.unit.simulator.codex.conftest import Door, Json, backend_body, user

REFUSED = [
    "temperature", "top_p", "max_output_tokens", "max_completion_tokens", "presence_penalty",
    "frequency_penalty", "seed", "metadata", "top_logprobs", "truncation", "user",
    "safety_identifier", "prompt_cache_retention", "context_management", "stream_options",
    "previous_response_id", "background", "conversation", "messages",
]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_the_backend_refuses_parameters_by_name(backend: Door, name: str) -> None:
    reply = await backend.post(backend_body() | {name: None})
    assert (reply.status_code, reply.json()) == (400, {"detail": f"Unsupported parameter: {name}"})


@pytest.mark.parametrize(
    "name", ["temperature", "metadata", "max_output_tokens", "user", "truncation"]
)
async def test_the_public_door_takes_more(public: Door, name: str) -> None:
    value: dict[str, Any] = {
        "temperature": 0.5,
        "metadata": {},
        "max_output_tokens": 16,
        "user": "u",
    }
    reply = await public.post({"model": "gpt-5.5", "input": "hi", name: value.get(name)})
    assert reply.status_code == 200, reply.text


def with_part(part: Json) -> Json:
    return {"input": [{"role": "user", "content": [part]}]}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            with_part({"type": "text", "text": "hi"}),
            "Invalid value: 'text'. Supported values are: 'input_text'",
        ),
        (with_part({"type": "output_text", "text": "hi"}), "Invalid value: 'output_text'"),
        (
            with_part({"type": "input_image", "image_url": {"url": "x"}}),
            "'input[0].content[0].image_url'",
        ),
        (
            with_part({"type": "input_text", "text": "", "prompt_cache_breakpoint": {}}),
            "prompt_cache_breakpoint'.",
        ),
        (
            {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]},
            "input[0].arguments",
        ),
        (
            {"input": [{"type": "function_call_output", "output": "x"}]},
            "Missing required parameter: 'input[0].call_id",
        ),
        ({"input": [{"type": "tool_use"}]}, "Invalid value: 'tool_use'"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice.name"),
        ({"text": {"format": {"type": "json_schema", "json_schema": {}}}}, "text.format.name"),
        ({"include": ["everything"]}, "include[0]"),
        (
            {"reasoning": {"effort": "low", "generate_summary": "auto"}},
            "reasoning.generate_summary",
        ),
        ({"prompt_cache_key": "k" * 65}, "prompt_cache_key"),
    ],
)
async def test_a_misfit_is_named_by_its_path(backend: Door, more: Json, said: str) -> None:
    reply = await backend.post(backend_body(**more))
    assert reply.status_code == 400
    assert said in reply.json()["error"]["message"]


async def test_what_codex_itself_sends_fits(backend: Door) -> None:
    passthrough = {"internal_chat_message_metadata_passthrough": {"turn_id": "t"}, "id": "msg_1"}
    tools = [
        {
            "type": "namespace",
            "name": "n",
            "description": "",
            "tools": [{"type": "custom", "name": "apply"}],
        }
    ]
    developer = {
        "type": "message",
        "role": "developer",
        "content": [{"type": "input_text", "text": "Be Codex."}],
    }
    extra = {"type": "additional_tools", "id": "at_1", "role": "developer", "tools": tools}
    found = await backend.ask(
        instructions=None,
        input=[extra, developer | passthrough, user("hi")],
        tools=[{"type": "web_search"}],
        client_metadata={"a": "b"},
        reasoning={"effort": "medium"},
        text={"verbosity": "low"},
        prompt_cache_key="key",
    )
    assert found[-1]["type"] == "response.completed"
