from __future__ import annotations

import base64
from typing import Any

import pytest

from simulator.seal import REASONING
from tests.unit.simulator.codex.conftest import Door, Json, backend_body, user

CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "done"}
THOUGHT: Json = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "encrypted_content": REASONING.seal("rs_1"),
}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"store": True}, "Store must be set to false"),
        ({"store": None}, "Store must be set to false"),
        ({"stream": False}, "Stream must be set to true"),
        ({"instructions": ""}, "Instructions are required"),
        ({"input": "hello"}, "Input must be a list"),
        (
            {"input": [{"role": "system", "content": "Be brief."}]},
            "System messages are not allowed",
        ),
        ({"service_tier": "flex"}, "Unsupported service_tier: flex"),
    ],
)
async def test_the_backends_own_demands(backend: Door, change: Json, said: str) -> None:
    reply = await backend.post(backend_body(**change))
    assert (reply.status_code, reply.json()) == (400, {"detail": said})


async def test_a_developer_message_counts_as_instructions(backend: Door) -> None:
    await backend.ask(
        instructions=None, input=[{"role": "developer", "content": "Be brief."}, user("hi")]
    )


async def test_the_public_door_makes_no_such_demands(public: Door) -> None:
    body = {
        "model": "gpt-5.5",
        "input": [{"role": "system", "content": "Be brief."}, user("hi")],
        "store": True,
    }
    assert (await public.post(body)).json()["output"][0]["content"][0]["text"] == "You said: hi"


@pytest.mark.parametrize(
    ("items", "status", "said"),
    [
        ([THOUGHT | {"encrypted_content": None}], 404, "Item with id 'rs_1' not found"),
        ([{"type": "item_reference", "id": "msg_1"}], 404, "Item with id 'msg_1' not found"),
        ([THOUGHT | {"id": "rs_2"}], 400, "could not be verified"),
        ([THOUGHT | {"encrypted_content": "ccpx1:bm90aGluZw=="}], 400, "could not be verified"),
        ([THOUGHT | {"id": "fc_1"}], 400, "begins with 'rs'"),
        ([CALL | {"id": "toolu_1"}, OUTPUT], 400, "begins with 'fc'"),
        ([CALL | {"call_id": "c" * 65}, OUTPUT | {"call_id": "c" * 65}], 400, "string too long"),
        ([CALL], 400, "No tool output found for function call call_1"),
        ([OUTPUT], 400, "No tool call found for function call output with call_id call_1"),
        ([OUTPUT, CALL], 400, "No tool call found"),
        (
            [CALL, OUTPUT | {"type": "custom_tool_call_output"}],
            400,
            "No tool call found for custom tool call",
        ),
    ],
)
async def test_items_must_stand_right(
    backend: Door, items: list[Json], status: int, said: str
) -> None:
    reply = await backend.post(backend_body(input=[user("hi"), *items]))
    assert reply.status_code == status
    assert said in reply.json()["error"]["message"]


async def test_sealed_reasoning_comes_back_with_its_id_or_without(backend: Door) -> None:
    bare = {name: value for name, value in THOUGHT.items() if name != "id"}
    await backend.ask(input=[user("hi"), THOUGHT, bare, CALL, OUTPUT])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/x.png",
        "data:image/png;base64,",
        "data:text/plain;base64,aGk=",
        "data:image/png;base64,?",
    ],
)
async def test_an_image_must_be_one(backend: Door, url: str) -> None:
    parts = [{"type": "input_image", "image_url": url}]
    reply = await backend.post(backend_body(input=[{"role": "user", "content": parts}]))
    assert reply.json()["error"]["param"] == "input[0].content[0].image_url"


async def test_an_image_passes(backend: Door) -> None:
    url = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    parts = [
        {"type": "input_image", "image_url": url},
        {"type": "input_image", "image_url": "https://example.com/x"},
    ]
    await backend.ask(input=[{"role": "user", "content": parts}])


@pytest.mark.parametrize("strict", [{}, {"strict": True}, {"strict": None}])
async def test_strict_is_true_unless_said_otherwise(backend: Door, strict: Json) -> None:
    tool = {"type": "function", "name": "f", "parameters": OPEN} | strict
    reply = await backend.post(backend_body(tools=[tool]))
    if strict == {"strict": None}:
        assert reply.status_code == 200
    else:
        assert reply.json()["error"]["code"] == "invalid_function_parameters"


async def test_a_closed_schema_may_be_strict(backend: Door) -> None:
    closed = OPEN | {"additionalProperties": False, "required": ["a"]}
    await backend.ask(tools=[{"type": "function", "name": "f", "parameters": closed}])
    missing = closed | {"required": []}
    reply = await backend.post(
        backend_body(tools=[{"type": "function", "name": "f", "parameters": missing}])
    )
    assert "every key in properties" in reply.text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"tool_choice": "any"}, "Invalid value: 'any'"),
        ({"tool_choice": {"type": "function", "name": "g"}}, "'g' not found"),
        (
            {"reasoning": {"effort": "minimal"}},
            "'minimal' is not supported with the 'gpt-5.5' model",
        ),
        (
            {"reasoning": {"effort": "max"}},
            "Supported values are: 'low', 'medium', 'high', 'xhigh'",
        ),
    ],
)
async def test_choices_must_be_there(backend: Door, more: Json, said: str) -> None:
    reply = await backend.post(backend_body(**more))
    assert said in reply.json()["error"]["message"]


async def test_a_strict_format_wants_a_closed_schema(backend: Door) -> None:
    form: dict[str, Any] = {"type": "json_schema", "name": "n", "schema": OPEN, "strict": True}
    assert "response_format 'n'" in (await backend.post(backend_body(text={"format": form}))).text


async def test_nothing_was_stored(public: Door) -> None:
    reply = await public.post({"model": "gpt-5.5", "input": "hi", "previous_response_id": "resp_1"})
    assert reply.json()["error"]["code"] == "previous_response_not_found"
