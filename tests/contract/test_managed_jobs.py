"""Managed sessions that nobody watches: their turns run to the end without a client, and a signed
webhook and a message to the owner's phone report it, whatever dies after it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic
from anthropic.types.beta import BetaWebhookEvent

from ccproxy.cli.agents import ask_managed_sessions, stop_session
from ccproxy.launcher.programs import find_script
from gateway.managed.journal import ANYBODY, SessionName
from gateway.managed.sent_events import read_events
from gateway.managed.turn_events import idle_event
from permission_service.notify.notifier import NotifyPolicy
from permission_service.notify.ways import ways_of
from shared.settings.notify import NotifySettings
from tests.contract.test_managed_custom_tools import calls, result, tool
from tests.contract.test_managed_sessions import ASK_BASH, answered_by_client
from tests.support.managed_house import (
    MODEL,
    House,
    hearing,
    idle,
    listed,
    running_house,
    says,
    send,
)
from tests.support.managed_types import check
from tests.support.receivers import SECRET, Received, Receiver

pytestmark = [
    pytest.mark.claude,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

FOR_LONG = "[[scenario:slow-100x400]] take your time"  # 40 seconds, unless it is stopped


@dataclass
class Reported:
    """A house whose permission service sends to a webhook and to ntfy."""

    house: House
    webhook: Receiver
    ntfy: Receiver

    async def event(self) -> dict[str, Any]:
        """Return the next event of the webhook, after its signature and its form are checked."""
        received = await arrived(self.webhook)
        assert received.is_signed()
        document = received.document
        check(BetaWebhookEvent, document)
        event = self.house.one.beta.webhooks.parse_unverified(received.body.decode())
        assert event.id == received.headers["webhook-id"] == document["id"]
        return document


async def arrived(receiver: Receiver) -> Received:
    return await asyncio.to_thread(receiver.next)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reported(simulator_url: str, tmp_path_factory: Any) -> AsyncIterator[Reported]:
    with Receiver() as webhook, Receiver() as ntfy:
        given = {"webhook_url": webhook.url, "webhook_secret": SECRET}
        given |= {"ntfy_url": ntfy.url, "ntfy_topic": "a-secret-topic"}
        ways = ways_of(NotifySettings.model_validate(given), time.time)
        policy = NotifyPolicy(pauses=(0.01,))
        async with running_house(
            simulator_url, tmp_path_factory, notify_by=ways, notify=policy
        ) as house:
            yield Reported(house, webhook, ntfy)


async def test_a_turn_goes_on_without_a_client_and_a_webhook_and_a_phone_hear_of_its_end(reported):
    house = reported.house
    session = await house.session(name="nightly")
    async with AsyncAnthropic(base_url=house.urls[0] + "/sdk", api_key="unused") as leaving:
        await send(leaving, session.id, says("[[say:All is well.]] work"))
    # No client is connected to either gateway now.
    event = await reported.event()
    assert event["data"] == {
        "id": session.id,
        "organization_id": "ccproxy",
        "type": "session.status_idled",
        "workspace_id": "local",
    }
    message = (await arrived(reported.ntfy)).document
    assert (message["title"], message["message"]) == ("nightly is done", f"Session: {session.id}")
    events = await listed(house.two, session.id)
    assert [each["type"] for each in events][-3:] == [
        "agent.message",
        "span.model_request_end",
        "session.status_idle",
    ]
    assert event["id"] == message["sequence_id"] == events[-1]["id"]


async def test_the_end_of_a_session_that_a_client_follows_is_for_programs_alone(reported):
    house = reported.house
    session = await house.session(name="followed")
    async with hearing(house.two, session.id, **{"last-event-id": "0-0"}) as heard:
        await send(house.one, session.id, says("[[say:Seen.]] hi"))
        await heard.until("session.status_idle")
    assert (await reported.event())["data"]["id"] == session.id
    # The next message to the phone is that of a later session, which nobody follows.
    alone = await house.session(name="alone")
    end = idle_event({"type": "end_turn"})
    assert await house.journals.commit(SessionName("", alone.id), ANYBODY, logged=[end])
    assert (await reported.event())["id"] == end["id"]
    assert (await arrived(reported.ntfy)).document["sequence_id"] == end["id"]


@pytest.mark.long
async def test_a_call_that_waits_for_a_person_is_an_event_and_one_message_to_the_phone(reported):
    house = reported.house
    session = await house.session(name="asking", tools=[ASK_BASH])
    await send(house.one, session.id, says('[[tool:Bash {"command": "touch asked"}]]'))
    assert (await arrived(reported.webhook)).document["type"] == "permission.waiting"
    event = await reported.event()
    waiting = (await listed(house.two, session.id))[-1]
    assert (event["id"], waiting["stop_reason"]["type"]) == (waiting["id"], "requires_action")
    assert "asks for permission" in (await arrived(reported.ntfy)).document["title"]
    await answered_by_client(house, session.id, waiting, "deny")
    assert (await reported.event())["data"]["id"] == session.id
    assert (await arrived(reported.ntfy)).document["title"] == "asking is done"


@pytest.mark.long
async def test_a_custom_tool_that_no_client_answers_is_a_message_to_the_phone(reported):
    house = reported.house
    session = await house.session(name="alone", tools=[tool("weather")])
    await send(house.one, session.id, calls("Bern"))
    event = await reported.event()
    message = (await arrived(reported.ntfy)).document
    assert (message["title"], message["sequence_id"]) == ("alone waits for its client", event["id"])
    waiting = (await listed(house.two, session.id))[-1]
    [use_id] = waiting["stop_reason"]["event_ids"]
    await send(house.two, session.id, result(use_id, "Sunny."))
    assert (await reported.event())["data"]["id"] == session.id
    assert (await arrived(reported.ntfy)).document["title"] == "alone is done"


async def test_an_end_is_reported_although_its_gateway_died_right_after_it(reported):
    house = reported.house
    session = await house.session(name="orphan")
    name = SessionName("", session.id)
    # A gateway logs the end of a turn, and does nothing any more.
    assert await house.bus.lease(name.key("lease"), "dead", ttl=0.5)
    end = idle_event({"type": "end_turn"})
    assert await house.journals.commit(name, "dead", logged=[end], state={"status": "idle"})
    assert (await reported.event())["id"] == end["id"]
    assert (await arrived(reported.ntfy)).document["title"] == "orphan is done"
    # Another dies in its turn: the next one reports the failure.
    assert await house.journals.release(name, "dead", leave=True)
    assert await house.bus.lease(name.key("lease"), "dying", ttl=0.5)
    [lost] = read_events([says("lost")])
    await house.journals.push(name, [lost])
    [(_, text)] = (await house.journals.look(name)).queue
    noted = {"span": "sevt_span", "began": 0.0, "request_id": "r"}
    state = {"status": "running", "turn": noted}
    assert await house.journals.commit(name, "dying", logged=[lost], taken=[text], state=state)
    assert (await reported.event())["data"]["id"] == session.id
    assert (await arrived(reported.ntfy)).document["title"] == "orphan has failed"
    assert (await idle(house.one, session.id)).status == "idle"


async def ccproxy(house: House, *words: str) -> asyncio.subprocess.Process:
    """Start `ccproxy agents` for the first gateway of the house."""
    return await asyncio.create_subprocess_exec(
        *find_script("ccproxy"),
        "agents",
        *words,
        "--url",
        house.urls[0],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.long
async def test_the_command_line_leaves_a_session_at_work_stops_it_and_follows_it_to_its_end(
    reported, monkeypatch
):
    house = reported.house
    await house.one.beta.agents.create(name="by hand", model=MODEL)
    folder = ("--folder", str(house.root))
    running = await ccproxy(house, "run", "by hand", "--prompt", FOR_LONG, *folder, "--json")
    assert running.stdout is not None
    async with asyncio.timeout(60):
        while json.loads(await running.stdout.readline())["type"] != "session.status_running":
            pass
        running.send_signal(signal.SIGINT)
        _, errors = await running.communicate()
    assert (running.returncode, b"goes on" in errors) == (0, True), errors.decode()
    # The session is at work without the command. Starting a command costs most of its time, so
    # the next two run in this process.
    monkeypatch.setenv("CCPROXY_STACK_URL", house.urls[1])
    [session] = await asyncio.to_thread(newest_session, house.urls[1])
    assert (session["status"], session["agent"]["name"]) == ("running", "by hand")
    assert (session["caller"], session["folder"]) == ("local", str(house.root))
    await asyncio.to_thread(stop_session, session["id"][:12])
    following = await ccproxy(house, "follow", session["id"], "--until-done")
    shown, errors = await following.communicate()
    assert following.returncode == 0, errors.decode()
    lines = shown.decode().splitlines()
    assert lines[0].endswith(f"you: {FOR_LONG}")
    assert any(line.endswith("stopped") for line in lines)
    assert lines[-1].endswith("the session is done")


def newest_session(url: str) -> list[dict[str, Any]]:
    with httpx.Client(base_url=url) as client:
        return ask_managed_sessions(client, 1, archived=False)
