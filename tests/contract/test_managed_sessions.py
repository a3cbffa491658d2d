"""Sessions of managed agents at work: the official SDK, two gateways, a worker with the real
`claude`, and the permission service, on a real Redis.
"""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from gateway.managed.journal import SessionName
from gateway.managed.narration import new_event
from gateway.managed.sent_events import read_events
from tests.support.managed_house import House, hearing, idle, listed, says, send

pytestmark = [
    pytest.mark.claude,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

ASK_BASH: Any = {
    "type": "agent_toolset_20260401",
    "default_config": {"enabled": True},
    "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}],
}
SLOW = "[[scenario:slow-100x40]] take your time"


async def test_a_message_is_answered_and_every_gateway_lists_and_streams_the_same_events(house):
    session = await house.session(system="Be brief.")
    async with hearing(house.one, session.id) as heard, hearing(house.two, session.id) as other:
        [sent] = await send(house.two, session.id, says("[[say:Hello.]] hi"))
        await heard.until("session.status_idle")
        await other.until("session.status_idle")
    assert heard.kinds() == [
        "user.message",
        "session.status_running",
        "span.model_request_start",
        "agent.message",
        "span.model_request_end",
        "session.status_idle",
    ]
    assert heard.events[0]["id"] == sent["id"]
    assert sent["processed_at"] is None
    assert heard.events[3]["content"] == [{"type": "text", "text": "Hello."}]
    assert heard.events[4]["model_usage"]["output_tokens"] > 0
    assert heard.events[5]["stop_reason"] == {"type": "end_turn"}
    assert other.events == heard.events
    assert await listed(house.one, session.id) == heard.events
    assert await listed(house.two, session.id, order="desc") == heard.events[::-1]
    messages = await listed(house.two, session.id, types=["agent.message"])
    assert messages == [heard.events[3]]
    after = await house.two.beta.sessions.retrieve(session.id)
    assert after.usage.output_tokens == heard.events[4]["model_usage"]["output_tokens"]
    assert after.stats.active_seconds > 0


@pytest.mark.long
async def test_messages_wait_for_their_turn_and_the_conversation_goes_on(house, simulator):
    session = await house.session()
    async with hearing(house.one, session.id) as heard:
        await send(house.one, session.id, says("[[say:One.]] first"), says("[[say:Two.]] second"))
        await send(house.two, session.id, says("[[say:Three.]] third"))
        await heard.until("session.status_idle", 3)
    texts = [
        event["content"][0]["text"]
        for event in heard.events
        if event["type"] in ("user.message", "agent.message")
    ]
    assert texts[1::2] == ["One.", "Two.", "Three."]
    spoken = [seen for seen in simulator.requests("/v1/messages") if b"third" in seen.raw]
    assert b"[[say:One.]] first" in spoken[-1].raw
    assert b"Two." in spoken[-1].raw


async def test_an_interrupt_ends_the_turn_and_the_next_message_has_its_own(house, simulator):
    session = await house.session()
    async with hearing(house.two, session.id) as heard:
        await send(house.one, session.id, says(SLOW))
        await heard.until("session.status_running")
        await send(house.two, session.id, {"type": "user.interrupt"}, says("and now"))
        await heard.until("session.status_idle", 2)
    kinds = heard.kinds()
    first_end = kinds.index("session.status_idle")
    assert "user.interrupt" in kinds[:first_end]
    assert heard.events[first_end]["stop_reason"] == {"type": "end_turn"}
    assert kinds[first_end:].count("agent.message") == 1
    assert heard.events[-1]["stop_reason"] == {"type": "end_turn"}
    # The interrupted task is no part of the next one, or it would be done after all.
    task = simulator.last("/v1/messages").body["messages"][-1]
    assert [block["text"] for block in task["content"]][-1] == "and now"
    assert "take your time" not in str(task)


@pytest.mark.long
async def test_a_stream_resumes_behind_the_last_event_it_has_seen(house):
    session = await house.session()
    async with hearing(house.one, session.id) as heard:
        await send(house.one, session.id, says("[[say:A.]] a"))
        await heard.until("session.status_idle")
    async with hearing(house.two, session.id, **{"last-event-id": "0-0"}) as again:
        await again.until("session.status_idle")
    assert again.events == heard.events


@pytest.mark.long
async def test_a_refusal_of_the_provider_is_an_event_and_the_session_stays(house):
    session = await house.session()
    async with hearing(house.one, session.id) as heard:
        await send(house.one, session.id, says("[[scenario:429-30]] no"))
        await heard.until("session.status_idle")
    error = await heard.until("session.error")
    assert error["error"]["type"] == "model_rate_limited_error"
    assert error["error"]["retry_status"] == {"type": "exhausted"}
    assert heard.events[-1]["stop_reason"] == {"type": "retries_exhausted"}
    assert (await idle(house.two, session.id)).status == "idle"


async def answered_by_client(house: House, session_id: str, waiting: Any, result: str) -> None:
    [event_id] = waiting["stop_reason"]["event_ids"]
    confirmation = {"type": "user.tool_confirmation", "tool_use_id": event_id, "result": result}
    await send(house.two, session_id, confirmation)


async def answered_by_person(house: House, session_id: str, waiting: Any, result: str) -> None:
    pending = (await house.one.get("/../permissions", cast_to=object))["pending"]  # type: ignore[index]
    [mine] = [each for each in pending if each["session_id"] == session_id]
    await house.one.post(
        f"/../permissions/{mine['request_id']}/respond",
        cast_to=object,
        body={"allowed": result == "allow"},
    )


@pytest.mark.parametrize("result", ["allow", "deny"])
@pytest.mark.parametrize("answer", [answered_by_client, answered_by_person])
async def test_a_tool_that_must_be_asked_about_waits_for_the_client_or_a_person(
    house, answer, result
):
    file = house.root / f"{answer.__name__}-{result}"
    session = await house.session(tools=[ASK_BASH])
    async with hearing(house.one, session.id) as heard:
        await send(house.one, session.id, says(f'[[tool:Bash {{"command": "touch {file}"}}]]'))
        waiting = await heard.until("session.status_idle")
        use = await heard.until("agent.tool_use")
        assert waiting["stop_reason"] == {"type": "requires_action", "event_ids": [use["id"]]}
        assert (use["name"], use["input"]["command"]) == ("bash", f"touch {file}")
        assert (use["evaluated_permission"], use["evaluation"]) == ("ask", {"type": "always_ask"})
        assert (await house.two.beta.sessions.retrieve(session.id)).status == "idle"
        await answer(house, session.id, waiting, result)
        await heard.until("session.status_idle", 2)
    kinds = heard.kinds()
    confirmed = await heard.until("user.tool_confirmation")
    assert kinds.count("user.tool_confirmation") == 1
    assert (confirmed["tool_use_id"], confirmed["result"]) == (use["id"], result)
    outcome = await heard.until("agent.tool_result")
    assert (outcome["tool_use_id"], outcome["is_error"]) == (use["id"], result == "deny")
    assert kinds.index("user.tool_confirmation") < kinds.index("agent.tool_result")
    assert file.exists() is (result == "allow")
    with pytest.raises(anthropic.BadRequestError, match="answered already"):
        await answered_by_client(house, session.id, waiting, "allow")


@pytest.mark.long
async def test_a_tool_that_the_agent_does_not_have_is_not_offered(house, simulator):
    session = await house.session(
        tools=[
            {
                "type": "agent_toolset_20260401",
                "default_config": {"enabled": False},
                "configs": [{"name": "read", "enabled": True}],
            }
        ]
    )
    await send(house.one, session.id, says("[[say:Fine.]] only-read"))
    await idle_after(house, session.id)
    [seen] = [s for s in simulator.requests("/v1/messages") if b"only-read" in s.raw]
    assert [tool["name"] for tool in seen.body["tools"]] == ["Read"]


async def idle_after(house: House, session_id: str) -> None:
    async with hearing(house.two, session_id, **{"last-event-id": "0-0"}) as heard:
        await heard.until("session.status_idle")


@pytest.mark.long
async def test_a_session_that_runs_is_neither_archived_nor_deleted(house):
    session = await house.session()
    async with hearing(house.one, session.id) as heard:
        await send(house.one, session.id, says(SLOW))
        await heard.until("session.status_running")
        for change in (house.two.beta.sessions.archive, house.two.beta.sessions.delete):
            with pytest.raises(anthropic.ConflictError, match="running"):
                await change(session.id)
        await send(house.one, session.id, {"type": "user.interrupt"})
        await heard.until("session.status_idle")
        await house.two.beta.sessions.delete(session.id)
        await heard.until("session.deleted")


@pytest.mark.long
async def test_events_that_are_not_served_or_wrong_are_refused_by_name(house):
    session = await house.session()
    image = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    for event, named in (
        ({"type": "user.define_outcome", "description": "x", "rubric": {}}, "define_outcome"),
        ({"type": "user.custom_tool_result", "custom_tool_use_id": "x"}, "custom_tool_use_id"),
        ({"type": "user.message", "content": [image]}, "content"),
        ({"type": "user.message", "content": []}, "content"),
        ({"type": "user.tool_confirmation", "tool_use_id": "x", "result": "allow"}, "tool_use_id"),
    ):
        with pytest.raises(anthropic.BadRequestError, match=named):
            await house.one.beta.sessions.events.send(session.id, events=[event])
    assert await listed(house.one, session.id) == []
    await house.one.beta.sessions.archive(session.id)
    with pytest.raises(anthropic.ConflictError, match="archived"):
        await send(house.one, session.id, says("late"))


async def test_a_turn_whose_gateway_died_is_reported_once_and_what_waits_behind_it_goes_on(house):
    session = await house.session()
    name = SessionName("", session.id)
    first, second = read_events([says("lost"), says("[[say:Next.]] next")])
    # Another gateway had the lease, had noted the turn, and died; its lease runs out by itself.
    assert await house.bus.lease(name.key("lease"), "dead", ttl=0.5)
    await house.journals.push(name, [first, second])
    [(_, text), _] = (await house.journals.look(name)).queue
    start = new_event("span.model_request_start")
    noted = {"span": start["id"], "began": 0.0, "request_id": "r"}
    begun = [first | {"processed_at": start["processed_at"]}, start]
    state = {"status": "running", "turn": noted}
    assert await house.journals.commit(name, "dead", logged=begun, taken=[text], state=state)
    async with hearing(house.two, session.id, **{"last-event-id": "0-0"}) as heard:
        await heard.until("session.status_idle", 2)
    kinds = heard.kinds()
    assert kinds[:5] == [
        "user.message",
        "span.model_request_start",
        "span.model_request_end",
        "session.error",
        "session.status_idle",
    ]
    assert "interrupted" in heard.events[3]["error"]["message"]
    assert heard.events[2]["model_request_start_id"] == start["id"]
    assert kinds.count("session.error") == 1
    spoken = [event["content"][0]["text"] for event in heard.events if "content" in event]
    assert spoken == ["lost", "[[say:Next.]] next", "Next."]


@pytest.mark.long
async def test_a_message_whose_gateway_died_before_its_turn_is_taken_by_another(house):
    session = await house.session()
    await house.journals.push(SessionName("", session.id), read_events([says("[[say:Here.]] x")]))
    async with hearing(house.one, session.id, **{"last-event-id": "0-0"}) as heard:
        await heard.until("session.status_idle")
    assert "session.error" not in heard.kinds()


@pytest.mark.long
async def test_a_process_that_lost_its_lease_changes_nothing_and_a_step_counts_once(house):
    session = await house.session()
    name = SessionName("", session.id)
    event = new_event("agent.thinking")
    assert not await house.journals.commit(name, "nobody", logged=[event])
    assert await house.bus.lease(name.key("lease"), "me", ttl=5)
    assert await house.journals.commit(name, "me", logged=[event], added={"active_ms": 5})
    assert (await house.journals.look(name)).counts["active_ms"] == 5
    assert [entry.event for entry in await house.journals.read(name)] == [event]
    assert await house.journals.release(name, "me")
