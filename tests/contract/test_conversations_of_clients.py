"""Conversations of real programs that a provider would refuse as they are: answered, and told as
they were meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.formats.envelope import wrap
from shared.formats.ir import Thinking
from tests.contract.conftest import OpenGateway
from tests.support.codex import codex_settings
from tests.support.simulator_fixture import GroundTruth

Json = dict[str, Any]
CLAUDE, GPT = "claude-sonnet-5-5", "gpt-5.5"
BIG = 1157920892373161954235709850086879078532
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk\r\n+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MESSAGES, BACKEND = "/v1/messages", "/backend-api"
PARAMETERS = {"type": "object", "properties": {"wei": {"type": "integer"}}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}


def user(text: str = "hi") -> Json:
    return {"role": "user", "content": text}


def call(call_id: str, arguments: str) -> Json:
    function = {"name": "f", "arguments": arguments}
    return {
        "role": "assistant",
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


def result(call_id: str, content: Any = "done") -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def chat(model: str, *messages: Json, **more: Any) -> Json:
    return {"model": model, "messages": [*messages], "tools": [FUNCTION]} | more


@pytest.fixture
async def http(
    open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    url = await open_gateway_at(
        codex=codex_settings(simulator.url, tmp_path),
        models={"aliases": {"renamed": "claude-sonnet-5-5"}},
    )
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20, verify=False) as opened:
        yield opened


async def post(http: httpx.AsyncClient, path: str, body: Json | bytes) -> httpx.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = await http.post(path, content=data, headers={"content-type": "application/json"})
    assert reply.status_code == 200, reply.text
    return reply


def ignored(reply: httpx.Response) -> set[str]:
    return set(filter(None, reply.headers.get("x-ccproxy-ignored", "").split(",")))


# --- arguments -----------------------------------------------------------------------------------

ARGUMENTS = [
    f'{{"wei": {BIG}}}',
    f'{{"wei": -{BIG}}}',
    '{"t": "\\ud83d\\ude00"}',
    '{"a": ' + "[" * 600 + "]" * 600 + "}",
]
UNUSUAL = [
    *ARGUMENTS,
    '{"t": "\\ud83d"}',
    '{"n": 1e400}',
    '{"n": NaN}',
    "[1]",
    "{",
    '{"a": ' + "[" * 2000 + "]" * 2000 + "}",
]


@pytest.mark.parametrize("arguments", UNUSUAL)
@pytest.mark.parametrize(
    ("path", "model"), [("/api/v1/chat/completions", CLAUDE), ("/codex/chat/completions", GPT)]
)
async def test_arguments_a_model_once_wrote_are_answered(
    http: httpx.AsyncClient, path: str, model: str, arguments: str
) -> None:
    await post(http, path, chat(model, user(), call("c", arguments), result("c")))


@pytest.mark.parametrize("arguments", ARGUMENTS)
async def test_arguments_reach_each_provider_unchanged(
    http: httpx.AsyncClient, simulator: GroundTruth, arguments: str
) -> None:
    await post(
        http, "/api/v1/chat/completions", chat(CLAUDE, user(), call("c", arguments), result("c"))
    )
    sent = json.loads(simulator.last(MESSAGES).raw)
    assert sent["messages"][1]["content"][0]["input"] == json.loads(arguments)
    await post(
        http, "/codex/chat/completions", chat(GPT, user(), call("c", arguments), result("c"))
    )
    assert simulator.last(BACKEND).body["input"][1]["arguments"] == arguments


async def test_half_a_character_becomes_a_whole_one_and_is_named(http: httpx.AsyncClient) -> None:
    body = chat(CLAUDE, user(), call("c", '{"t": "\\ud83d"}'), result("c"))
    assert "tool_calls.arguments" in ignored(await post(http, "/api/v1/chat/completions", body))


async def test_a_renamed_model_changes_no_number(
    http: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {"wei": BIG}}
    answer = {"type": "tool_result", "tool_use_id": "t", "content": "done"}
    turns = [user(), {"role": "assistant", "content": [use]}, {"role": "user", "content": [answer]}]
    tools = [{"name": "f", "input_schema": PARAMETERS}]
    body = {"model": "renamed", "max_tokens": 99, "messages": turns, "tools": tools}
    await post(http, "/api/v1/messages", body)
    assert json.loads(simulator.last(MESSAGES).raw)["messages"][1]["content"][0]["input"] == {
        "wei": BIG
    }
    await post(http, "/codex/v1/messages", body | {"model": GPT})
    assert json.loads(simulator.last(BACKEND).body["input"][1]["arguments"]) == {"wei": BIG}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_number_a_model_writes_reaches_every_client(
    http: httpx.AsyncClient, stream: bool
) -> None:
    """The text of a stream is cut into pieces, so the digits are looked for without what stands
    between.
    """
    said = f'[[tool:f {{"wei":{BIG}}}]]'
    tools = [{"name": "f", "input_schema": PARAMETERS}]
    body = {
        "model": GPT,
        "max_tokens": 99,
        "messages": [user(said)],
        "tools": tools,
        "stream": stream,
    }
    answered = [await post(http, "/codex/v1/messages", body)]
    for path, model in (("/api/v1/chat/completions", CLAUDE), ("/codex/chat/completions", GPT)):
        answered.append(await post(http, path, chat(model, user(said), stream=stream)))
    for reply in answered:
        told = re.findall(r'(?:partial_json|arguments|wei)\\*":\s?\\*"?([^}]*)', reply.text)
        assert str(BIG) in re.sub(r"[^0-9]", "", "".join(told))


# --- order and ids -------------------------------------------------------------------------------

GREETING = {"role": "assistant", "content": "Welcome."}
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("path", "model"), [("/api/v1/chat/completions", CLAUDE), ("/codex/chat/completions", GPT)]
)
@pytest.mark.parametrize(
    "turns",
    [
        [GREETING, user()],
        [SYSTEM],
        [SYSTEM, SYSTEM],
        [user(), GREETING, SYSTEM, user()],
        [GREETING, SYSTEM, user()],
    ],
)
async def test_any_order_openai_answers_is_answered(
    http: httpx.AsyncClient, path: str, model: str, turns: list[Json]
) -> None:
    await post(http, path, chat(model, *turns))


async def test_a_late_system_message_stays_in_its_place(
    http: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    await post(http, "/codex/chat/completions", chat(GPT, user(), GREETING, SYSTEM, user()))
    sent = simulator.last(BACKEND).body
    assert sent["instructions"]
    assert [item["role"] for item in sent["input"]] == ["user", "assistant", "developer", "user"]


async def test_only_the_second_of_two_equal_ids_is_renamed(
    http: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    loop = [
        call("call_0", "{}"),
        result("call_0", "one"),
        call("call_0", "{}"),
        result("call_0", "two"),
    ]
    await post(http, "/api/v1/chat/completions", chat(CLAUDE, user(), *loop))
    first = simulator.last(MESSAGES).body["messages"]
    used = [
        block["id"] for turn in first for block in turn["content"] if block["type"] == "tool_use"
    ]
    answered = [
        block["tool_use_id"]
        for turn in first
        for block in turn["content"]
        if block["type"] == "tool_result"
    ]
    assert used == answered == ["call_0", "call_0_2"]
    await post(
        http,
        "/api/v1/chat/completions",
        chat(CLAUDE, user(), *loop, call("call_0_2", "{}"), result("call_0_2")),
    )
    longer = simulator.last(MESSAGES).body["messages"]
    assert longer[: len(first)] == first, "the prompt's beginning is the same, or no cache holds"


# --- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "model"), [("/api/v1/chat/completions", CLAUDE), ("/codex/chat/completions", GPT)]
)
async def test_a_tools_screenshot_is_carried(
    http: httpx.AsyncClient, simulator: GroundTruth, path: str, model: str
) -> None:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    await post(http, path, chat(model, user(), call("c", "{}"), result("c", [picture])))
    seen = simulator.last(MESSAGES if model == CLAUDE else BACKEND)
    assert "".join(PIXEL.split()) in seen.raw.decode()


async def test_base64_with_line_breaks_is_mended(
    http: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    body = {
        "model": GPT,
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [{"type": "image", "source": source}]}],
    }
    await post(http, "/codex/v1/messages", body)
    assert "".join(PIXEL.split()) in simulator.last(BACKEND).raw.decode()


@pytest.mark.parametrize("path", ["/api/v1/messages", "/codex/v1/messages"])
async def test_a_byte_order_mark_is_no_part_of_the_body(http: httpx.AsyncClient, path: str) -> None:
    body = {"model": GPT if "codex" in path else CLAUDE, "max_tokens": 9, "messages": [user()]}
    await post(http, path, b"\xef\xbb\xbf" + json.dumps(body).encode())


# --- names ---------------------------------------------------------------------------------------


async def test_a_field_is_named_as_the_client_spelled_it(http: httpx.AsyncClient) -> None:
    old = await post(http, "/codex/chat/completions", chat(GPT, user(), max_tokens=99))
    new = await post(http, "/codex/chat/completions", chat(GPT, user(), max_completion_tokens=99))
    theirs = {
        "model": GPT,
        "max_tokens": 99,
        "messages": [user()],
        "stop_sequences": ["x"],
        "top_k": 3,
    }
    messages = await post(http, "/codex/v1/messages", theirs)
    assert ignored(old) == {"max_tokens"}
    assert ignored(new) == {"max_completion_tokens"}
    assert ignored(messages) == {"max_tokens", "stop_sequences", "top_k"}


async def test_fields_of_a_tool_do_not_vanish_unnamed(http: httpx.AsyncClient) -> None:
    tool = {
        "name": "f",
        "input_schema": PARAMETERS,
        "input_examples": [{"wei": 1}],
        "defer_loading": True,
    }
    body = {
        "model": GPT,
        "max_tokens": 9,
        "messages": [user()],
        "tools": [tool | {"eager_input_streaming": True}],
    }
    assert ignored(await post(http, "/codex/v1/messages", body)) >= {
        "tools[].input_examples",
        "tools[].defer_loading",
    }


async def test_explicit_defaults_of_responses_are_taken(http: httpx.AsyncClient) -> None:
    nulls = dict.fromkeys(
        ("previous_response_id", "prompt", "max_tool_calls", "conversation", "user", "metadata")
    )
    body = {"model": GPT, "input": "hi", "background": False, "truncation": "disabled", **nulls}
    assert ignored(await post(http, "/codex/v1/responses", body)) == set()


# --- what only one vendor made -------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/messages", "/api/v1/messages/count_tokens"])
async def test_a_conversation_of_codex_goes_on_at_claude(
    http: httpx.AsyncClient, simulator: GroundTruth, path: str
) -> None:
    sealed = wrap(Thinking("x", "gAAA", "openai", "rs_1"))
    thought = {"type": "thinking", "thinking": "x", "signature": sealed}
    turns = [
        user(),
        {"role": "assistant", "content": [thought, {"type": "text", "text": "a"}]},
        user("b"),
    ]
    body = {"model": CLAUDE, "messages": turns} | ({} if "count" in path else {"max_tokens": 9})
    reply = await post(http, path, body)
    assert ignored(reply) == {"messages[].content[].thinking"}
    assert b"ccpx1" not in simulator.last(MESSAGES).raw


SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}


@pytest.mark.parametrize(
    ("path", "stream"), [("/codex/v1/messages", False), ("/codex/messages", True)]
)
async def test_claude_codes_web_search_runs_at_openai_and_is_counted(
    http: httpx.AsyncClient, simulator: GroundTruth, path: str, stream: bool
) -> None:
    choice = {"type": "tool", "name": "web_search"}
    body = {
        "model": "gpt-sim-web-search",
        "max_tokens": 99,
        "messages": [user()],
        "tools": [SEARCH],
        "tool_choice": choice,
    }
    reply = await post(http, path, body | {"stream": stream})
    assert simulator.last(BACKEND).body["tool_choice"] == {"type": "web_search"}
    told = (
        '"server_tool_use"',
        '"web_search_tool_result"',
        '"web_search_requests":1',
        '"type":"web_search_result"',
    )
    for expected in (*told, '"url":"https://example.com/simulators"'):
        assert expected in reply.text
    if not stream:
        again = [user(), {"role": "assistant", "content": reply.json()["content"]}, user("and?")]
        await post(http, "/api/v1/messages", {"model": CLAUDE, "max_tokens": 9, "messages": again})


@pytest.mark.parametrize("kind", ["web_search", "web_search_preview"])
async def test_a_search_forced_by_an_openai_client_is_forced_at_claude(
    http: httpx.AsyncClient, simulator: GroundTruth, kind: str
) -> None:
    body = {
        "model": "claude-haiku-5-5",
        "input": "hi",
        "tools": [{"type": kind}],
        "tool_choice": {"type": kind},
    }
    await http.post("/api/v1/responses", json=body)
    assert simulator.last(MESSAGES).body["tool_choice"] == {"type": "tool", "name": "web_search"}
