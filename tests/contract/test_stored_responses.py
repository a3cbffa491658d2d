"""Responses that are remembered: the official OpenAI client, a real Redis, both providers, two
gateways.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import redis
from openai import AsyncOpenAI

from tests.contract.conftest import OpenGateway
from tests.support.codex import codex_settings
from tests.support.simulator_fixture import GroundTruth

ROUTES = {"/api/v1": "claude-sim-text", "/codex/v1": "gpt-5.5"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "name": "weather", "strict": False, "parameters": SCHEMA}
BOTH = pytest.mark.parametrize("route", ROUTES)


@pytest.fixture
async def gateway_url(open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path) -> str:
    return await open_gateway_at(codex=codex_settings(simulator.url, tmp_path))


@pytest.fixture
async def clients(gateway_url: str) -> AsyncIterator[dict[str, AsyncOpenAI]]:
    """One official client for each route."""
    opened = {
        route: AsyncOpenAI(base_url=gateway_url + route, api_key="unused", max_retries=0)
        for route in ROUTES
    }
    yield opened
    for client in opened.values():
        await client.close()


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def texts_sent(simulator: GroundTruth) -> list[str]:
    """Return the texts of the last request a provider received, in order, whatever their format."""
    body = [seen for seen in simulator.requests() if seen.method == "POST"][-1].body
    turns = body.get("input") or body.get("messages")
    texts: list[str] = []
    for turn in turns:
        content = turn.get("content", [])
        parts = [{"text": content}] if isinstance(content, str) else content
        texts += [part["text"] for part in parts if "text" in part]
    return texts


@BOTH
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_response_continues_the_one_it_names(
    clients: dict[str, AsyncOpenAI], simulator: GroundTruth, route: str, streamed: bool
) -> None:
    client, model = clients[route], ROUTES[route]

    async def ask(text: str, **more: Any) -> Any:
        if not streamed:
            return await client.responses.create(model=model, input=text, **more)
        async with client.responses.stream(model=model, input=text, **more) as stream:
            return await stream.get_final_response()

    first = await ask("[[say:one]] hello")
    assert (first.store, first.previous_response_id, first.output_text) == (True, None, "one")
    second = await ask("[[say:two]] again", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    third = await ask("[[say:three]] and again", previous_response_id=second.id)
    assert third.output_text == "three"
    assert texts_sent(simulator) == [
        "[[say:one]] hello",
        "one",
        "[[say:two]] again",
        "two",
        "[[say:three]] and again",
    ]
    fetched = await client.responses.retrieve(second.id)
    assert (fetched.id, fetched.output_text, fetched.model) == (second.id, "two", second.model)


@BOTH
async def test_a_tool_loop_by_references_to_items_is_answered(
    clients: dict[str, AsyncOpenAI], simulator: GroundTruth, route: str
) -> None:
    """The Vercel AI SDK's default: every later step refers to earlier items by their ids."""
    client, model = clients[route], ROUTES[route]
    asked = user('[[say:Let me look.]][[tool:weather {"city":"Ulm"}]] How is it?')
    first = await client.responses.create(model=model, input=asked, tools=[WEATHER])
    references = [{"type": "item_reference", "id": item.id} for item in first.output]
    call = next(item for item in first.output if item.type == "function_call")
    result = {
        "type": "function_call_output",
        "call_id": call.call_id,
        "output": "[[say:Sunny.]] sun",
    }
    second = await client.responses.create(
        model=model, input=[*asked, *references, result], tools=[WEATHER]
    )
    assert second.status == "completed"
    third = await client.responses.create(
        model=model,
        previous_response_id=second.id,
        input=[{"type": "item_reference", "id": second.output[-1].id}, *user("[[say:Bye.]] bye")],
        tools=[WEATHER],
    )
    assert third.output_text == "Bye."
    answers = [text for text in texts_sent(simulator) if text.startswith("The tool answered")]
    assert len(answers) == 1


async def test_a_response_of_one_provider_is_continued_at_the_other(
    clients: dict[str, AsyncOpenAI], simulator: GroundTruth
) -> None:
    first = await clients["/api/v1"].responses.create(
        model="claude-sim-thinking", input="[[say:from Claude]] hello"
    )
    second = await clients["/codex/v1"].responses.create(
        model="gpt-5.5", input="[[say:from Codex]] go on", previous_response_id=first.id
    )
    third = await clients["/api/v1"].responses.create(
        model="claude-sim-text", input="[[say:end]] end", previous_response_id=second.id
    )
    assert third.output_text == "end"
    assert "from Codex" in texts_sent(simulator)


@BOTH
async def test_store_false_leaves_nothing_behind(
    clients: dict[str, AsyncOpenAI], redis_url: str, route: str
) -> None:
    client, model = clients[route], ROUTES[route]
    kept = await client.responses.create(model=model, input="[[say:kept]] hello")
    with redis.Redis.from_url(redis_url) as raw:
        before = sorted(raw.keys("stored:*"))
        reply = await client.responses.create(model=model, input="hello", store=False)
        more = await client.responses.create(
            model=model, input="and?", store=False, previous_response_id=kept.id
        )
        assert sorted(raw.keys("stored:*")) == before
    assert (reply.store, more.store) == (False, False)
    for missing in (reply.id, more.id):
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(missing)
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model=model, input="?", previous_response_id=missing)
        assert refused.value.code == "previous_response_not_found"


async def test_a_broken_link_is_refused_by_name(clients: dict[str, AsyncOpenAI]) -> None:
    client = clients["/api/v1"]
    first = await client.responses.create(model="claude-sim-text", input="one")
    second = await client.responses.create(
        model="claude-sim-text", input="two", previous_response_id=first.id
    )
    await client.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError, match=first.id) as refused:
        await client.responses.create(
            model="claude-sim-text", input="?", previous_response_id=second.id
        )
    assert refused.value.code == "previous_response_not_found"
    with pytest.raises(openai.NotFoundError):
        await client.responses.delete(first.id)
    reference: Any = [{"type": "item_reference", "id": "msg_no"}]
    with pytest.raises(openai.NotFoundError, match="Item with id 'msg_no'"):
        await client.responses.create(model="claude-sim-text", input=reference)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"store": "yes"}, "store"),
        ({"previous_response_id": 7}, "previous_response_id"),
        ({"conversation": {"id": 7}}, "conversation"),
        ({"conversation": "conv_1", "previous_response_id": "resp_1"}, "conversation"),
        ({"input": [{"type": "item_reference"}]}, "input"),
    ],
)
async def test_a_field_of_the_wrong_shape_is_named(
    gateway_url: str, body: dict[str, Any], param: str
) -> None:
    async with httpx.AsyncClient(base_url=gateway_url, trust_env=False) as http:
        reply = await http.post(
            "/codex/v1/responses", json={"model": "gpt-5.5", "input": "hello"} | body
        )
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_input_items_are_listed_with_what_came_before(
    clients: dict[str, AsyncOpenAI],
) -> None:
    client = clients["/api/v1"]
    first = await client.responses.create(model="claude-sim-text", input="[[say:one]] first")
    second = await client.responses.create(
        model="claude-sim-text",
        input=[*user("second"), *user("third")],
        previous_response_id=first.id,
    )
    listed: Any = await client.responses.input_items.list(second.id, order="asc", limit=2)
    assert [item.role for item in listed.data] == ["user", "assistant"]
    assert listed.has_more
    texts = [item.content[0].text async for item in listed]
    assert texts == ["[[say:one]] first", "one", "second", "third"]
    newest = await client.responses.input_items.list(second.id, limit=1)
    assert newest.data[0].content[0].text == "third"  # type: ignore[union-attr]
    with pytest.raises(openai.BadRequestError, match="after"):
        await client.responses.input_items.list(second.id, after="msg_no")


@BOTH
async def test_a_conversation_grows_with_each_response(
    clients: dict[str, AsyncOpenAI], simulator: GroundTruth, route: str
) -> None:
    client, model = clients[route], ROUTES[route]
    conversation = await client.conversations.create(
        items=user("My name is Ada."), metadata={"of": "Ada"}
    )
    first = await client.responses.create(
        model=model, input="[[say:Hello Ada.]] hi", conversation=conversation.id
    )
    assert first.conversation is not None
    assert first.conversation.id == conversation.id
    await client.responses.create(
        model=model, input="[[say:Yes.]] still there?", conversation={"id": conversation.id}
    )
    assert texts_sent(simulator) == [
        "My name is Ada.",
        "[[say:Hello Ada.]] hi",
        "Hello Ada.",
        "[[say:Yes.]] still there?",
    ]
    items = [item async for item in client.conversations.items.list(conversation.id, order="asc")]
    assert [getattr(item, "role", None) for item in items] == [
        "user",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    await client.conversations.items.delete(items[0].id, conversation_id=conversation.id)  # type: ignore[arg-type]
    await client.conversations.update(conversation.id, metadata={"of": "nobody"})
    assert (await client.conversations.retrieve(conversation.id)).metadata == {"of": "nobody"}
    await client.responses.create(model=model, input="again", conversation=conversation.id)
    assert "My name is Ada." not in texts_sent(simulator)
    await client.conversations.delete(conversation.id)
    with pytest.raises(openai.NotFoundError, match=conversation.id):
        await client.responses.create(model=model, input="?", conversation=conversation.id)


async def test_a_session_in_the_address_keeps_the_conversation(
    gateway_url: str, simulator: GroundTruth
) -> None:
    async with AsyncOpenAI(
        base_url=f"{gateway_url}/codex/home", api_key="x", max_retries=0
    ) as client:
        first = await client.responses.create(model="gpt-5.5", input="[[say:one]] first")
        second = await client.responses.create(model="gpt-5.5", input="[[say:two]] second")
        assert second.previous_response_id == first.id
        assert texts_sent(simulator) == ["[[say:one]] first", "one", "[[say:two]] second"]
        whole: Any = [*user("a"), {"role": "assistant", "content": "b"}, *user("c")]
        await client.responses.create(model="gpt-5.5", input=whole)
        assert texts_sent(simulator) == ["a", "b", "c"]
    async with AsyncOpenAI(
        base_url=f"{gateway_url}/codex/other", api_key="x", max_retries=0
    ) as other:
        await other.responses.create(model="gpt-5.5", input="alone")
        assert texts_sent(simulator) == ["alone"]


async def test_two_gateways_share_what_is_stored_and_tokens_do_not(
    open_gateway_at: OpenGateway, simulator: GroundTruth
) -> None:
    tokens = [
        {"name": name, "token": f"{name}-secret", "scopes": ["use"]} for name in ("ada", "bob")
    ]
    first_url = await open_gateway_at(security={"tokens": tokens})
    second_url = await open_gateway_at(security={"tokens": tokens})
    async with (
        AsyncOpenAI(base_url=f"{first_url}/api/v1", api_key="ada-secret", max_retries=0) as ada,
        AsyncOpenAI(
            base_url=f"{second_url}/api/v1", api_key="ada-secret", max_retries=0
        ) as ada_elsewhere,
        AsyncOpenAI(base_url=f"{second_url}/api/v1", api_key="bob-secret", max_retries=0) as bob,
    ):
        mine = await ada.responses.create(model="claude-sim-text", input="[[say:mine]] hello")
        more = await ada_elsewhere.responses.create(
            model="claude-sim-text", input="more", previous_response_id=mine.id
        )
        assert (await ada.responses.retrieve(more.id)).id == more.id
        with pytest.raises(openai.NotFoundError):
            await bob.responses.retrieve(mine.id)
        with pytest.raises(openai.BadRequestError):
            await bob.responses.create(
                model="claude-sim-text", input="?", previous_response_id=mine.id
            )


async def test_input_tokens_are_estimated_with_the_stored_context(
    clients: dict[str, AsyncOpenAI],
) -> None:
    client = clients["/api/v1"]
    first = await client.responses.create(model="claude-sim-text", input="word " * 400)
    alone = await client.responses.input_tokens.count(model="claude-sim-text", input="hello")
    after = await client.responses.input_tokens.count(
        model="claude-sim-text", input="hello", previous_response_id=first.id
    )
    assert after.input_tokens > alone.input_tokens + 400


async def test_health_tells_how_much_stored_responses_use(
    clients: dict[str, AsyncOpenAI], gateway_url: str
) -> None:
    async def stored() -> dict[str, Any]:
        async with httpx.AsyncClient(base_url=gateway_url, trust_env=False) as http:
            [found] = (await http.get("/health")).json()["checks"]["stored_responses"]
        return dict(found)

    before = await stored()
    assert (before["items"], before["bytes"], before["status"]) == (0, 0, "pass")
    for _ in range(2):
        await clients["/api/v1"].responses.create(model="claude-sim-text", input="hello")
    await clients["/api/v1"].responses.create(model="claude-sim-text", input="hello", store=False)
    after = await stored()
    assert after["items"] == 2
    assert 0 < after["bytes"] < after["limit_bytes_per_token"]
    assert after["lifetime_hours"] == 24
    assert "2 stored" in after["output"]
