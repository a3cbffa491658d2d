"""Custom tools of managed agents: the real `claude` calls them, and the session's client answers."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest

from gateway.managed.journal import SessionName
from gateway.managed.sent_events import MOST_RESULT_CHARS, read_events
from shared.bus.channels import CUSTOM_TOOLS_PREFIX
from shared.runtime.errors import Conflict
from tests.support.managed_house import Heard, hearing, says, send
from tests.support.matrix import matrix

pytestmark = [
    pytest.mark.claude,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
IMAGE: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}


def tool(name: str) -> Any:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    described = f"The {name} of a city"
    return {"type": "custom", "name": name, "description": described, "input_schema": schema}


def calls(*cities: str, name: str = "weather") -> Any:
    """Return a message upon which the simulated model calls the tool for every city at once."""
    given = [f"{CUSTOM_TOOLS_PREFIX}{name} {json.dumps({'city': city})}" for city in cities]
    return says("".join(f"[[tool:{each}]]" for each in given))


def result(use_id: str, *content: Any, **more: Any) -> Any:
    blocks = [{"type": "text", "text": each} if isinstance(each, str) else each for each in content]
    about = {"type": "user.custom_tool_result", "custom_tool_use_id": use_id}
    return about | ({"content": blocks} if blocks else {}) | more


async def asked(heard: Heard, count: int = 1) -> list[str]:
    """Return the ids of `count` calls, once the session waits for all of them."""
    while True:
        idle = await heard.until("session.status_idle", count)
        ids: list[str] = idle["stop_reason"]["event_ids"]
        if len(ids) == count:
            return ids


async def test_calls_wait_for_the_client_and_the_turn_goes_on_with_its_results(house, simulator):
    session = await house.session(tools=[tool("weather")])
    async with hearing(house.one, session.id) as heard:
        await send(house.one, session.id, calls("Bern", "Rome"))
        bern, rome = await asked(heard, 2)
        uses = [event for event in heard.events if event["type"] == "agent.custom_tool_use"]
        assert [(use["id"], use["name"], use["input"]) for use in uses] == [
            (bern, "weather", {"city": "Bern"}),
            (rome, "weather", {"city": "Rome"}),
        ]
        assert (await house.two.beta.sessions.retrieve(session.id)).status == "idle"
        # The second gateway answers the second call first; the first one still waits.
        await send(house.two, session.id, result(rome, "no data", is_error=True))
        remainder = await heard.until("session.status_idle", 3)
        assert remainder["stop_reason"] == {"type": "requires_action", "event_ids": [bern]}
        for change in (house.two.beta.sessions.archive, house.two.beta.sessions.delete):
            with pytest.raises(anthropic.ConflictError, match="waits for an answer"):
                await change(session.id)
        await send(house.one, session.id, result(bern, "Sunny.", IMAGE))
        end = await heard.until("session.status_idle", 4)
    assert end["stop_reason"] == {"type": "end_turn"}
    kinds = heard.kinds()
    assert kinds.count("user.custom_tool_result") == 2
    assert "agent.tool_result" not in kinds
    assert kinds.index("session.status_running", 3) < kinds.index("agent.message")
    told = simulator.last("/v1/messages").body
    assert [each["name"] for each in told["tools"]] == [CUSTOM_TOOLS_PREFIX + "weather"]
    assert told["tools"][0]["input_schema"] == tool("weather")["input_schema"]
    *_, used, answered = told["messages"]
    cities = {block["id"]: block["input"]["city"] for block in used["content"]}
    results = {cities[block["tool_use_id"]]: block for block in answered["content"]}
    text, image, *_ = results["Bern"]["content"]
    assert (text["text"], image["source"]["data"]) == ("Sunny.", PNG)
    assert results["Rome"]["is_error"] is True
    assert "no data" in str(results["Rome"]["content"])


@pytest.mark.long
async def test_a_call_is_answered_once_by_the_client_that_the_session_waits_for(house):
    session = await house.session(tools=[tool("weather")])
    name = SessionName("", session.id)
    async with hearing(house.one, session.id) as heard:
        await send(house.one, session.id, calls("Bern"))
        [use] = await asked(heard)
        confirmation = {"type": "user.tool_confirmation", "tool_use_id": use, "result": "allow"}
        for events, named in (
            ([result("sevt_unknown")], "waits for"),
            ([result(use), result(use)], "answered already"),
            ([confirmation], "waits for"),
        ):
            with pytest.raises(anthropic.BadRequestError, match=named):
                await send(house.two, session.id, *events)
        # Two gateways have both seen the call wait; one of them comes second.
        answer = result(use, "Sunny.")
        await house.journals.push(name, read_events([answer]), [use])
        with pytest.raises(Conflict, match="Another client"):
            await house.journals.push(name, read_events([answer]), [use])
        await heard.until("agent.message")
        with pytest.raises(anthropic.BadRequestError, match="answered already"):
            await send(house.one, session.id, answer)
        await heard.until("session.status_idle", 2)
    assert heard.kinds().count("user.custom_tool_result") == 1


@pytest.mark.long
async def test_an_interrupt_ends_the_wait_and_a_result_behind_it_is_named_late(house, simulator):
    session = await house.session(tools=[tool("weather")])
    async with hearing(house.one, session.id) as heard:
        await send(house.one, session.id, calls("Bern"))
        [use] = await asked(heard)
        await send(house.two, session.id, {"type": "user.interrupt"}, result(use, "Sunny."))
        late = await heard.until("session.error")
        assert "came too late" in late["error"]["message"]
        kinds = heard.kinds()
        assert kinds.index("user.interrupt") < kinds.index("user.custom_tool_result")
        with pytest.raises(anthropic.BadRequestError, match="may be over"):
            await send(house.one, session.id, result(use, "Sunny."))
        # The tools may change between two turns; the next turn has the new ones.
        await house.two.beta.sessions.update(session.id, agent={"tools": [tool("population")]})
        await send(house.one, session.id, calls("Rome", name="population"))
        waiting = await heard.until("session.status_idle", 3)
        [use] = waiting["stop_reason"]["event_ids"]
        await send(house.one, session.id, result(use))
        await heard.until("session.status_idle", 4)
    assert heard.events[-1]["stop_reason"] == {"type": "end_turn"}
    told = simulator.last("/v1/messages").body
    assert [each["name"] for each in told["tools"]] == [CUSTOM_TOOLS_PREFIX + "population"]


URL_IMAGE = {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}}
BROKEN = {"type": "image", "source": IMAGE["source"] | {"data": "%"}}


@pytest.mark.parametrize(
    ("content", "named"),
    matrix(
        [
            ([DOCUMENT], "document is not served in a result"),
            (["a" * MOST_RESULT_CHARS, "b"], "400,000 characters"),
            ([URL_IMAGE], "source"),
            ([BROKEN], "no base64"),
            ([{"type": "search_result"}], "search_result is not served"),
        ],
        first=2,
    ),
)
async def test_a_result_that_the_model_could_not_be_told_is_refused_by_name(house, content, named):
    session = await house.session(tools=[tool("weather")])
    with pytest.raises(anthropic.BadRequestError, match=named):
        await send(house.one, session.id, result("sevt_1", *content))
