"""`/codex` on a running gateway: the official client in two formats, sessions, refusals, models,
the API key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest
from backports import zstd
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.contract.conftest import OpenGateway
from tests.support.codex import codex_settings, write_login
from tests.support.simulator_fixture import OPENAI_KEY, GroundTruth, chatgpt_token

BACKEND = "/backend-api/codex/responses"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "description": "Of a city", "parameters": SCHEMA},
}
TIME: Any = {"type": "function", "function": {"name": "time", "parameters": SCHEMA}}
FLAT: Any = [{"type": "function", "strict": False, **tool["function"]} for tool in (WEATHER, TIME)]
MODEL = "gpt-5.5"


class City(BaseModel):
    city: str
    people: int


@pytest.fixture
async def codex_url(open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path) -> str:
    return f"{await open_gateway_at(codex=codex_settings(simulator.url, tmp_path))}/codex"


@pytest.fixture
async def client(codex_url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=codex_url, api_key="unused", max_retries=0) as opened:
        yield opened


@pytest.fixture
async def http(codex_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=codex_url, trust_env=False, timeout=20, verify=False
    ) as opened:
        yield opened


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


# --- Responses -----------------------------------------------------------------------------------


async def test_a_whole_response_has_the_output_the_backend_left_out(client: AsyncOpenAI) -> None:
    response = await client.responses.create(
        model="gpt-sim-reasoning", input="hello", instructions="Be brief."
    )
    assert response.status == "completed"
    assert response.output_text == "You said: hello"
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.usage
    assert response.usage.output_tokens > 0


async def test_a_streamed_response_is_the_same(client: AsyncOpenAI) -> None:
    async with client.responses.stream(model="gpt-sim-reasoning", input="hello") as stream:
        kinds = [event.type async for event in stream]
        response = await stream.get_final_response()
    assert response.output_text == "You said: hello"
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert not any(kind.startswith("codex.") for kind in kinds)


async def test_a_tool_loop_with_parallel_calls_and_sealed_reasoning(client: AsyncOpenAI) -> None:
    items = ask('[[tool:weather {"city":"Bern"}]] [[tool:time {"city":"Bern"}]]')
    first = await client.responses.create(model="gpt-sim-reasoning", input=items, tools=FLAT)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["weather", "time"]
    items += [item.to_dict() for item in first.output]
    items += [
        {"type": "function_call_output", "call_id": call.call_id, "output": call.name}
        for call in calls
    ]
    second = await client.responses.create(model="gpt-sim-reasoning", input=items, tools=FLAT)
    assert second.output_text == "The tool answered: weather\nThe tool answered: time"


async def test_images_and_json_schema(client: AsyncOpenAI, simulator: GroundTruth) -> None:
    parts = [{"type": "input_text", "text": "Where?"}, {"type": "input_image", "image_url": PIXEL}]
    content: Any = [{"role": "user", "content": parts}]
    parsed = await client.responses.parse(model=MODEL, input=content, text_format=City)
    assert parsed.output_parsed == City(city="text", people=1)
    assert simulator.last(BACKEND).body["input"][0]["content"] == parts


async def test_what_the_backend_refuses_is_left_out_and_said(
    client: AsyncOpenAI, simulator: GroundTruth
) -> None:
    raw = await client.responses.with_raw_response.create(
        model=MODEL,
        input="hi",
        temperature=0.5,
        max_output_tokens=99,
        metadata={"a": "b"},
        store=True,
        user="u",
    )
    assert set(raw.headers["x-ccproxy-ignored"].split(",")) == {
        "temperature", "max_output_tokens", "metadata", "user"
    }  # fmt: skip
    sent = simulator.last(BACKEND).body
    assert (sent["store"], sent["stream"]) == (False, True)


async def test_the_readmes_body_with_messages_is_taken(http: httpx.AsyncClient) -> None:
    reply = await http.post("/responses", json={"model": MODEL, "messages": ask("hello")})
    assert reply.json()["output"][0]["content"][0]["text"] == "You said: hello"


# --- Chat Completions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scenario", ["text", "long-50", "reasoning", "refusal", "max-tokens", "web-search", "empty"]
)
async def test_chat_streamed_is_chat_whole(client: AsyncOpenAI, scenario: str) -> None:
    request: Any = {"model": f"gpt-sim-{scenario}", "messages": ask("hello")}
    whole = (await client.chat.completions.create(**request)).choices[0]
    stream = await client.chat.completions.create(stream=True, **request)
    chunks = [chunk.choices[0] async for chunk in stream if chunk.choices]
    assert "".join(chunk.delta.content or "" for chunk in chunks) == (whole.message.content or "")
    assert chunks[-1].finish_reason == whole.finish_reason


async def test_a_chat_tool_loop_keeps_the_sealed_reasoning(
    client: AsyncOpenAI, simulator: GroundTruth
) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        *ask('[[tool:weather {"city":"Bern"}]] [[tool:time]]'),
    ]
    request: Any = {"model": "gpt-sim-reasoning", "tools": [WEATHER, TIME]}
    first = (await client.chat.completions.create(messages=messages, **request)).choices[0]
    assert first.finish_reason == "tool_calls"
    calls: Any = first.message.tool_calls
    assert orjson.loads(calls[0].function.arguments) == {"city": "Bern"}
    messages.append(first.message.to_dict())
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": call.function.name} for call in calls
    ]
    second = (await client.chat.completions.create(messages=messages, **request)).choices[0]
    assert second.message.content == "The tool answered: weather\nThe tool answered: time"
    sent = simulator.last(BACKEND).body
    assert sent["instructions"] == "Be brief."
    assert [item["type"] for item in sent["input"]][1] == "reasoning"


async def test_names_longer_than_the_backend_takes_come_back_whole(
    client: AsyncOpenAI, simulator: GroundTruth
) -> None:
    name = "weather_" * 10
    tool: Any = {"type": "function", "function": {"name": name, "parameters": SCHEMA}}
    messages = ask("hello")
    request: Any = {"model": MODEL, "tools": [tool]}
    first = await client.chat.completions.create(
        messages=messages, tool_choice="required", **request
    )
    [call] = first.choices[0].message.tool_calls or []
    assert call.to_dict()["function"]["name"] == name
    long_id = call.id + "x" * 60
    messages += [{"role": "assistant", "tool_calls": [call.to_dict() | {"id": long_id}]}]
    messages += [{"role": "tool", "tool_call_id": long_id, "content": "rain"}]
    second = await client.chat.completions.create(messages=messages, **request)
    assert second.choices[0].message.content == "The tool answered: rain"
    assert len(simulator.last(BACKEND).body["tools"][0]["name"]) == 64


async def test_chat_images_and_json_schema(client: AsyncOpenAI) -> None:
    parts = [{"type": "text", "text": "Where?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    content: Any = [{"role": "user", "content": parts}]
    parsed = await client.chat.completions.parse(
        model=MODEL, messages=content, response_format=City
    )
    assert parsed.choices[0].message.parsed == City(city="text", people=1)


async def test_chat_reasoning_is_shown(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="gpt-sim-reasoning", messages=ask("hello"))
    assert "knows what to say" in reply.choices[0].message.to_dict()["reasoning_content"]


async def test_sampling_is_dropped_by_name(client: AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model=MODEL,
        messages=ask("hi"),
        temperature=0.2,
        max_tokens=50,
        stop="x",
        reasoning_effort="minimal",
    )
    assert {"temperature", "max_tokens", "stop"} <= set(raw.headers["x-ccproxy-ignored"].split(","))


# --- sessions and the prompt cache ---------------------------------------------------------------


async def test_ten_turns_have_one_cache_key_and_only_ever_append(
    client: AsyncOpenAI, simulator: GroundTruth
) -> None:
    messages: list[Any] = [{"role": "system", "content": "Be brief. " * 700}]
    for turn in range(10):
        messages += ask(f"turn {turn}")
        reply = await client.chat.completions.create(model=MODEL, messages=messages)
        messages.append({"role": "assistant", "content": reply.choices[0].message.content or ""})
    turns = simulator.requests(BACKEND)
    assert len(turns) == 10
    assert len({turn.body["prompt_cache_key"] for turn in turns}) == 1
    assert {turn.header("session-id") for turn in turns} == {turns[0].body["prompt_cache_key"]}
    begun = [turn.raw[: turn.raw.index(b"]", turn.raw.rindex(b'"text":"turn'))] for turn in turns]
    for earlier, later in zip(begun, turns[1:], strict=False):
        assert later.raw.startswith(earlier)
    assert reply.usage
    assert reply.usage.prompt_tokens_details
    assert reply.usage.prompt_tokens_details.cached_tokens
    assert reply.usage.prompt_tokens_details.cached_tokens > 1024


async def test_conversations_that_begin_otherwise_have_other_keys(
    client: AsyncOpenAI, simulator: GroundTruth
) -> None:
    for text in ("one", "two"):
        await client.responses.create(model=MODEL, input=text)
    assert len({seen.body["prompt_cache_key"] for seen in simulator.requests(BACKEND)}) == 2


@pytest.mark.parametrize(
    ("path", "headers", "body", "session"),
    [
        (
            "/my_session_123/responses",
            {"session_id": "other"},
            {"prompt_cache_key": "k"},
            "my_session_123",
        ),
        ("/my_session_123/chat/completions", {}, {}, "my_session_123"),
        ("/responses", {"session_id": "from-header"}, {"prompt_cache_key": "k"}, "from-header"),
        ("/v1/chat/completions", {"session-id": "from-header"}, {}, "from-header"),
        ("/responses", {}, {"prompt_cache_key": "from-body"}, "from-body"),
        ("/chat/completions", {}, {"prompt_cache_key": "from-body"}, "from-body"),
        ("/v1/messages", {"x-claude-code-session-id": "of-claude"}, {"max_tokens": 9}, "of-claude"),
    ],
)
async def test_a_named_conversation_keeps_its_name(
    http: httpx.AsyncClient,
    simulator: GroundTruth,
    path: str,
    headers: dict[str, str],
    body: Any,
    session: str,
) -> None:
    reply = await http.post(
        path, json={"model": MODEL, "messages": ask("hello"), **body}, headers=headers
    )
    assert reply.status_code == 200, reply.text
    seen = simulator.last(BACKEND)
    assert (seen.body["prompt_cache_key"], seen.header("session-id")) == (session, session)


async def test_a_request_of_codex_itself_goes_out_byte_by_byte(
    http: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    developer = {
        "type": "message",
        "role": "developer",
        "content": [{"type": "input_text", "text": "Be Codex."}],
    }
    body = {
        "model": MODEL,
        "input": [developer, *ask("hello")],
        "stream": True,
        "store": False,
        "tools": [],
    }
    body |= {
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "own",
        "client_metadata": {"x": "y"},
    }
    raw = orjson.dumps(body, option=orjson.OPT_INDENT_2)
    headers = {
        "originator": "codex_exec",
        "user-agent": "codex_exec/1",
        "session-id": "own",
        "x-codex-window-id": "w",
    }
    packed = headers | {"content-type": "application/json", "content-encoding": "zstd"}
    reply = await http.post("/responses", content=zstd.compress(raw), headers=packed)
    seen = simulator.last(BACKEND)
    assert seen.raw == raw
    assert {name: seen.header(name) for name in headers} == headers
    assert seen.header("content-encoding") is None
    assert reply.content == seen.sent
    assert reply.headers["content-type"].startswith("text/event-stream")


async def test_others_go_out_under_our_own_name(
    client: AsyncOpenAI, simulator: GroundTruth
) -> None:
    await client.responses.create(model=MODEL, input="hi")
    seen = simulator.last(BACKEND)
    assert seen.header("originator") == "ccproxy"
    assert str(seen.header("user-agent")).startswith("ccproxy/")
    assert seen.header("chatgpt-account-id") == "acct-simulated"


# --- streaming, failing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/responses", {"input": "[[scenario:stall-1]]"}),
        ("/chat/completions", {"messages": ask("[[scenario:stall-1]]")}),
        ("/v1/messages", {"messages": ask("[[scenario:stall-1]]"), "max_tokens": 9}),
    ],
)
async def test_the_first_words_leave_before_the_next_exist(
    http: httpx.AsyncClient, simulator: GroundTruth, path: str, body: Any
) -> None:
    """The backend says one word and then nothing; the client has it, and its leaving ends the
    backend's request.
    """
    async with http.stream("POST", path, json={"model": MODEL, "stream": True, **body}) as reply:
        got = b""
        async for chunk in reply.aiter_bytes():
            got += chunk
            if b"one" in got:
                break
    assert await simulator.until(lambda seen: [one for one in seen if one.cancelled])


@pytest.mark.parametrize(
    ("scenario", "error", "said"),
    [
        ("400", openai.BadRequestError, "as it was asked to"),
        ("401", openai.AuthenticationError, "invalidated"),
        ("403", openai.PermissionDeniedError, "Just a moment"),
        ("404", openai.NotFoundError, "Not Found"),
        ("usage-limit-60", openai.RateLimitError, "it is reset at 20"),
        ("500", openai.InternalServerError, "server had an error"),
        ("503", openai.InternalServerError, "overloaded"),
    ],
)
@pytest.mark.parametrize("format_", ["chat", "responses"])
async def test_refusals_keep_status_and_words(
    client: AsyncOpenAI, scenario: str, error: type[openai.APIStatusError], said: str, format_: str
) -> None:
    prompt = f"[[scenario:{scenario}]]"
    if format_ == "chat":
        asking: Any = client.chat.completions.create(model=MODEL, messages=ask(prompt))
    else:
        asking = client.responses.create(model=MODEL, input=prompt)
    with pytest.raises(error) as caught:
        await asking
    assert said in caught.value.message
    assert "<html" not in caught.value.message
    if scenario == "usage-limit-60":
        assert caught.value.response.headers["retry-after"] == "60"
        assert "x-codex-primary-used-percent" in caught.value.response.headers


async def test_refusals_come_in_anthropics_envelope_too(http: httpx.AsyncClient) -> None:
    body = {"model": MODEL, "max_tokens": 9, "messages": ask("[[scenario:usage-limit]]")}
    reply = await http.post("/v1/messages", json=body)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "3600")
    assert reply.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize(
    ("scenario", "status"),
    [("failed", 429), ("context", 400), ("overloaded", 503), ("error", 429), ("cut", 502)],
)
async def test_a_whole_response_that_failed_is_an_error(
    http: httpx.AsyncClient, scenario: str, status: int
) -> None:
    reply = await http.post(
        "/responses", json={"model": MODEL, "input": f"[[scenario:{scenario}]]"}
    )
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


async def test_a_cut_stream_ends_with_an_error(http: httpx.AsyncClient) -> None:
    reply = await http.post(
        "/responses", json={"model": MODEL, "input": "[[scenario:cut]]", "stream": True}
    )
    last = orjson.loads(reply.content.rstrip().rpartition(b"data: ")[2])
    assert last["type"] == "error"


async def test_a_login_the_backend_takes_no_more_is_renewed_once(
    open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path
) -> None:
    settings = codex_settings(simulator.url, tmp_path)
    write_login(tmp_path / "auth.json", chatgpt_token() + "revoked")
    url = await open_gateway_at(codex=settings)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http:
        reply = await http.post("/codex/responses", json={"model": MODEL, "input": "hi"})
    assert reply.status_code == 200
    assert [seen.status for seen in simulator.requests("/backend-api/codex")] == [401, 200]
    assert "revoked" not in (tmp_path / "auth.json").read_text()


async def test_without_a_login_the_command_that_makes_one_is_named(
    open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path
) -> None:
    settings = codex_settings(simulator.url, tmp_path, auth_file=tmp_path / "nowhere.json")
    url = await open_gateway_at(codex=settings)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http:
        for path in ("/codex/responses", "/codex/chat/completions", "/codex/v1/messages"):
            reply = await http.post(
                path, json={"model": MODEL, "messages": ask("hi"), "max_tokens": 9}
            )
            assert reply.status_code == 401
            assert "ccproxy auth login-openai" in reply.json()["error"]["message"]
    assert not simulator.requests()


async def test_an_upgrade_to_websocket_is_refused_at_once(codex_url: str) -> None:
    headers = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    headers["sec-websocket-key"] = "bGlwZHFRMUFtaXZVcg=="
    async with httpx.AsyncClient(trust_env=False) as plain:
        reply = await plain.get(f"{codex_url}/responses", headers=headers)
    assert (reply.status_code, reply.headers["upgrade"]) == (426, "http/1.1")


# --- models, counting, keys ----------------------------------------------------------------------


async def test_models_are_listed_for_codex_and_for_everybody(
    http: httpx.AsyncClient, client: AsyncOpenAI
) -> None:
    listed = await http.get("/models", params={"client_version": "0.169.0"})
    found = listed.json()
    assert (
        {model["slug"] for model in found["models"]}
        > {entry["id"] for entry in found["data"]}
        > {MODEL}
    )
    assert found["data"][0]["max_output_tokens"] == 8192
    again = await http.get("/v1/models", headers={"if-none-match": listed.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert MODEL in {model.id async for model in client.models.list()}
    assert (await client.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-nothing")


async def test_tokens_are_estimated_and_said_to_be(http: httpx.AsyncClient) -> None:
    body = {"model": MODEL, "messages": ask("x" * 4000), "tools": []}
    reply = await http.post("/v1/messages/count_tokens", json=body)
    assert reply.headers["x-ccproxy-estimate"] == "true"
    assert 1000 <= reply.json()["input_tokens"] < 1050
    assert (await http.post("/v1/messages/count_tokens", json={"model": MODEL})).json()[
        "type"
    ] == "error"


async def test_the_status_says_who_pays(http: httpx.AsyncClient) -> None:
    status = (await http.get("/status")).json()
    assert status["credentials"]["billed_to"] == "subscription"
    assert status["models"] > 5
    assert "eyJ" not in orjson.dumps(status).decode()


async def test_a_key_goes_to_the_public_door_with_all_it_takes(
    open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path
) -> None:
    url = await open_gateway_at(codex=codex_settings(simulator.url, tmp_path, api_key=OPENAI_KEY))
    async with AsyncOpenAI(base_url=f"{url}/codex", api_key="unused", max_retries=0) as client:
        reply = await client.chat.completions.create(model=MODEL, messages=ask("hi"), max_tokens=99)
        assert reply.choices[0].message.content == "You said: hi"
        assert simulator.last("/v1/responses").body["max_output_tokens"] == 99
        whole = await client.responses.create(model=MODEL, input="hi", temperature=0.5)
        assert whole.output_text == "You said: hi"
        assert simulator.last("/v1/responses").body["temperature"] == 0.5
        async with client.responses.stream(model=MODEL, input="hi") as stream:
            assert (await stream.get_final_response()).output_text == "You said: hi"
        assert MODEL in {model.id async for model in client.models.list()}
    assert not simulator.requests(BACKEND)
