"""Sessions of managed agents at work: the official SDK, two gateways, a worker with the real
`claude`, and the permission service, on a real Redis.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anthropic
import pytest
import pytest_asyncio
import redis
from anthropic import AsyncAnthropic
from anthropic.types.beta import BetaManagedAgentsSession
from anthropic.types.beta.sessions import (
    BetaManagedAgentsSendSessionEvents,
    BetaManagedAgentsSessionEvent,
    BetaManagedAgentsStreamSessionEvents,
)

from gateway.managed.journal import SessionJournals, SessionName
from gateway.managed.narration import new_event
from gateway.managed.objects import ManagedObjects
from gateway.managed.sent_events import read_events
from sdk_worker.claude.driver import ProgramFile, drivers
from sdk_worker.process import open_pool, timeouts
from sdk_worker.reply import LeftReplies
from sdk_worker.sessions import Sessions
from sdk_worker.worker import Worker
from shared.bus import Bus
from shared.permissions.asking import ask_permission_service
from shared.permissions.fair_use import InputsInFlight
from shared.settings.tree import Settings, load_settings
from tests.conftest import QUICK, RedisServer, unbounded_keys
from tests.support.managed_types import check
from tests.support.permission_stack import running_desk
from tests.support.simulator_fixture import API_KEY
from tests.unit.gateway.conftest import serve

pytestmark = [
    pytest.mark.claude,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

MODEL = "claude-sonnet-4-5"
ASK_BASH: Any = {
    "type": "agent_toolset_20260401",
    "default_config": {"enabled": True},
    "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}],
}
# The next turn hears it too, after an interrupt: it may not take long.
SLOW = "[[scenario:slow-100x40]] take your time"


@dataclass
class House:
    """Two gateways of one stack, as clients of the official SDK see them. `journals` are those of a
    third gateway, which dies whenever a test wants it to.
    """

    one: AsyncAnthropic
    two: AsyncAnthropic
    journals: SessionJournals
    bus: Bus
    root: Path
    urls: list[str]

    async def session(self, **agent: Any) -> BetaManagedAgentsSession:
        """Return a new session whose tools act below `root`."""
        made = await self.one.beta.agents.create(**{"name": "helper", "model": MODEL} | agent)
        environment = await self.one.beta.environments.create(
            name="here", metadata={"cwd": str(self.root)}
        )
        return await self.one.beta.sessions.create(agent=made.id, environment_id=environment.id)


@asynccontextmanager
async def running_worker(settings: Settings, redis_url: str) -> AsyncIterator[None]:
    """Run a worker of `/sdk` as its program would, with the real `claude`."""
    stop = asyncio.Event()
    async with Bus(redis_url, service="sdk_worker", instance="w", timings=QUICK) as bus:
        ask = partial(ask_permission_service, bus, InputsInFlight())
        program = ProgramFile(settings.claude.cli_path)
        pool = open_pool(settings, program, drivers()[0], ask=ask)
        options = settings.claude.code_options
        kept = {"limit": 4, "idle": 60, "timeout": 20, "kept_by": bus.address}
        sessions = Sessions(pool, bus, options, **kept)  # type: ignore[arg-type]
        worker = Worker(
            pool,
            sessions,
            LeftReplies(bus, bus.address, seconds=20),
            name="w",
            mode="ignore",
            pretty=False,
            timeouts=timeouts(settings),
            roots=settings.sdk.working_roots,
        )
        serving = asyncio.create_task(worker.serve(bus, slots=4, stop=stop, drain=asyncio.Event()))
        yield
        stop.set()
        await serving
        sessions.forget_all()
        await pool.drain()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(simulator_url: str, tmp_path_factory: Any) -> AsyncIterator[House]:
    async with running_house(simulator_url, tmp_path_factory) as running:
        yield running


@asynccontextmanager
async def running_house(
    simulator_url: str, folders: pytest.TempPathFactory, **desk: Any
) -> AsyncIterator[House]:
    """Run the house, whose permission service has the options `desk`."""
    server = RedisServer(folders.mktemp("redis"))
    server.start()
    redis_url = server.url
    root = folders.mktemp("root")
    settings = load_settings(
        redis={"url": redis_url},
        claude={"base_url": simulator_url, "api_key": API_KEY},
        sdk={"working_roots": [root], "pool_size": 0},
    )
    async with AsyncExitStack() as opened:
        rules = root.with_suffix(".rules.toml")
        await opened.enter_async_context(running_desk(redis_url, rules, **desk))
        await opened.enter_async_context(running_worker(settings, redis_url))
        clients, urls = [], []
        for name in ("one", "two"):
            bus = await opened.enter_async_context(
                Bus(redis_url, service="gateway", instance=name, timings=QUICK)
            )
            running = await opened.enter_async_context(serve(settings, bus, None))  # type: ignore[arg-type]
            urls.append(f"http://127.0.0.1:{running.port}")
            client = AsyncAnthropic(base_url=urls[-1] + "/sdk", api_key="unused", max_retries=0)
            clients.append(await opened.enter_async_context(client))
        journals = SessionJournals(ManagedObjects(bus, limit=2**25))
        yield House(*clients, journals, bus, root, urls)
    with redis.Redis.from_url(redis_url) as store:
        left = unbounded_keys(store)
    server.stop()
    assert not left, "keys with neither a TTL nor a bound were left in Redis"


@dataclass
class Heard:
    """The events of a stream, each checked against the SDK's types."""

    events: list[Any]
    news: asyncio.Condition

    async def until(self, kind: str, count: int = 1) -> Any:
        """Return the event number `count` of this kind, once it has come."""

        def found() -> list[Any]:
            return [event for event in self.events if event["type"] == kind]

        async with asyncio.timeout(60), self.news:
            await self.news.wait_for(lambda: len(found()) >= count)
        return found()[count - 1]

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]


@asynccontextmanager
async def hearing(client: AsyncAnthropic, session_id: str, **headers: str) -> AsyncIterator[Heard]:
    """Stream the events of a session while the context is open."""
    heard = Heard([], asyncio.Condition())
    async with await client.beta.sessions.events.stream(
        session_id, extra_headers=headers
    ) as stream:

        async def listen() -> None:
            async for event in stream:
                raw = event.to_dict(mode="json", exclude_unset=True)
                check(BetaManagedAgentsStreamSessionEvents, raw)
                async with heard.news:
                    heard.events.append(raw)
                    heard.news.notify_all()

        listening = asyncio.create_task(listen())
        try:
            yield heard
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def send(client: AsyncAnthropic, session_id: str, *events: Any) -> list[Any]:
    call = client.beta.sessions.events.with_raw_response.send(session_id, events=events)
    raw = await (await call).json()
    check(BetaManagedAgentsSendSessionEvents, raw)
    return raw["data"]


def says(text: str) -> Any:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


async def listed(client: AsyncAnthropic, session_id: str, **query: Any) -> list[Any]:
    """Return the events of a session, read in pages of three."""
    found = []
    page = await client.beta.sessions.events.list(session_id, limit=3, **query)
    while True:
        found += [event.to_dict(mode="json", exclude_unset=True) for event in page.data]
        if not page.has_next_page():
            break
        page = await page.get_next_page()
    for event in found:
        check(BetaManagedAgentsSessionEvent, event)
    return found


async def idle(client: AsyncAnthropic, session_id: str) -> BetaManagedAgentsSession:
    """Return a session once it is idle and nothing waits."""
    async with asyncio.timeout(60):
        while True:
            session = await client.beta.sessions.retrieve(session_id)
            if session.status == "idle":
                return session
            await asyncio.sleep(0.05)


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


async def test_an_interrupt_ends_the_turn_and_the_next_message_has_its_own(house):
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


async def test_a_stream_resumes_behind_the_last_event_it_has_seen(house):
    session = await house.session()
    async with hearing(house.one, session.id) as heard:
        await send(house.one, session.id, says("[[say:A.]] a"))
        await heard.until("session.status_idle")
    async with hearing(house.two, session.id, **{"last-event-id": "0-0"}) as again:
        await again.until("session.status_idle")
    assert again.events == heard.events


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


async def test_events_that_are_not_served_or_wrong_are_refused_by_name(house):
    session = await house.session()
    image = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    for event, named in (
        ({"type": "user.define_outcome", "description": "x", "rubric": {}}, "define_outcome"),
        ({"type": "user.custom_tool_result", "custom_tool_use_id": "x"}, "custom_tool_result"),
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


async def test_a_message_whose_gateway_died_before_its_turn_is_taken_by_another(house):
    session = await house.session()
    await house.journals.push(SessionName("", session.id), read_events([says("[[say:Here.]] x")]))
    async with hearing(house.one, session.id, **{"last-event-id": "0-0"}) as heard:
        await heard.until("session.status_idle")
    assert "session.error" not in heard.kinds()


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
