"""Processes of the stack die under managed sessions: a tool acts once at most, the session says what
happened, and its next message has its turn.

One stack serves all tests: two gateways, one worker with the real `claude`, the permission service,
and a Redis with a file of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import psutil
import pytest
from anthropic import Anthropic

from ccproxy.launcher.programs import find_script
from shared.bus.channels import CUSTOM_TOOLS_PREFIX
from tests.support.simulator_fixture import GroundTruth
from tests.support.stack import Stack, simulated, stacks, until

pytestmark = [pytest.mark.long, pytest.mark.claude, pytest.mark.timeout(240)]

MODEL = "claude-sonnet-4-5"
OWNERS_RULES: Any = {"type": "agent_toolset_20260401"}
ASK_BASH: Any = OWNERS_RULES | {
    "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]
}
TICKET: Any = {
    "type": "custom",
    "name": "ticket",
    "description": "Opens a ticket",
    "input_schema": {"type": "object"},
}
AWAY = (anthropic.APIConnectionError, anthropic.InternalServerError)  # while a process is replaced
ACTS_SECONDS = 600  # the tool would act for longer than any test


@pytest.fixture(scope="module")
def stack(_homes: Callable[[], Path], simulator_url: str) -> Iterator[Stack]:
    settings = {
        "SERVER__WORKERS": "2",
        "SDK__POOL_SIZE": "0",
        "CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS": '["Bash"]',
    }
    for start in stacks(find_script("ccproxy"), _homes, simulated(simulator_url) | settings):
        yield start().wait_ready()


def says(text: str) -> Any:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


class Talk:
    """A managed session with its client, which asks again while processes are replaced."""

    def __init__(self, client: Anthropic, *tools: Any) -> None:
        self.client = client
        beta = self.client.beta
        agent = self.again(
            lambda: beta.agents.create(name="helper", model=MODEL, tools=list(tools))
        )
        place = self.again(lambda: beta.environments.create(name="here"))
        create = beta.sessions.create
        self.id = self.again(lambda: create(agent=agent.id, environment_id=place.id)).id

    def again(self, ask: Callable[[], Any]) -> Any:
        late = time.monotonic() + 60
        while True:
            try:
                return ask()
            except AWAY:
                assert time.monotonic() < late
                time.sleep(0.05)

    def send(self, event: Any) -> None:
        self.again(lambda: self.client.beta.sessions.events.send(self.id, events=[event]))

    def say(self, text: str) -> None:
        self.send(says(text))

    def events(self) -> list[Any]:
        page = self.again(lambda: self.client.beta.sessions.events.list(self.id, limit=100))
        return [event.to_dict(mode="json") for event in page.data]

    def until(self, kind: str, count: int = 1) -> list[Any]:
        """Return the events, once `count` of them are of this kind."""
        found: list[Any] = []

        def look() -> bool:
            found[:] = self.events()
            return kinds(found).count(kind) >= count

        until(look, f"{count} {kind}", deadline=90)
        return found

    def goes_on(self) -> None:
        """Fail unless a further message has its turn, which ends well."""
        ends = kinds(self.events()).count("session.status_idle")
        self.say("[[say:Next.]] next")
        events = self.until("session.status_idle", ends + 1)
        assert events[-1]["stop_reason"] == {"type": "end_turn"}, events[-3:]
        texts = [event["content"][0]["text"] for event in events if "content" in event]
        assert texts[-2:] == ["[[say:Next.]] next", "Next."]


def kinds(events: list[Any]) -> list[str]:
    return [event["type"] for event in events]


def act(target: Path, *, seconds: int = ACTS_SECONDS) -> str:
    """Return a message whose tool leaves its mark in `target`, and acts for `seconds` more."""
    call = {"command": f"echo once >> {target}; sleep {seconds}", "timeout": 600_000}
    return f"[[tool:Bash {json.dumps(call)}]]"


def assert_cut_off_once(talk: Talk, target: Path, ends: int = 1) -> None:
    """Fail unless the log reports the turn of the tool as cut off, once, and the next turn leaves
    the tool alone.
    """
    events = talk.until("session.status_idle", ends)
    assert kinds(events)[-3:] == [
        "span.model_request_end",
        "session.error",
        "session.status_idle",
    ]
    assert events[-1]["stop_reason"] == {"type": "retries_exhausted"}
    talk.goes_on()
    assert kinds(talk.events()).count("session.error") == 1
    assert target.read_text() == "once\n"


def test_a_turn_whose_gateways_all_died_is_reported_by_a_new_one(
    stack: Stack, client: Anthropic, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    talk = Talk(client, OWNERS_RULES)
    talk.say(act(target))
    until(target.exists, "the tool")
    gateways = stack.supervised("gateway")
    assert len(gateways) == 2
    for pid in gateways:
        os.kill(pid, signal.SIGKILL)
    assert_cut_off_once(talk, target)
    # The task of the turn that broke off is no part of the next one.
    truth = GroundTruth(stack.simulator_url)
    asked = truth.last("/v1/messages").body["messages"]
    truth.close()
    assert "sleep" not in str(asked[-1])
    assert "the process that ran it is gone" in str(asked[-2])


@pytest.fixture
def client(stack: Stack) -> Iterator[Anthropic]:
    with Anthropic(base_url=f"{stack.url}/sdk", api_key="unused", max_retries=0) as opened:
        yield opened


class Stream:
    """The stream of a session, read in a thread over a connection of its own."""

    def __init__(self, stack: Stack, session_id: str) -> None:
        before = ports_to(stack)
        self.kinds: list[str] = []
        self._http = httpx.Client(timeout=120)
        address = f"{stack.url}/sdk/v1/sessions/{session_id}/events/stream"
        self._response = self._http.send(self._http.build_request("GET", address), stream=True)
        self.gateway = gateway_behind(stack, before)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(httpx.HTTPError, httpx.StreamError):  # closed, or its gateway died
            for line in self._response.iter_lines():
                if line.startswith("event: "):
                    self.kinds.append(line.removeprefix("event: "))

    def close(self) -> None:
        self._response.close()
        self._http.close()


def ports_to(stack: Stack) -> set[int]:
    """Return the ports of this process that are connected with the stack."""
    server = httpx.URL(stack.url).port
    connections = psutil.Process().net_connections("tcp")
    return {each.laddr.port for each in connections if each.raddr and each.raddr.port == server}


def gateway_behind(stack: Stack, before: set[int]) -> int:
    """Return the pid of the gateway behind the only connection made since the ports `before`."""
    [port] = ports_to(stack) - before

    def found() -> list[int]:
        return [
            pid
            for pid in stack.supervised("gateway")
            for each in psutil.Process(pid).net_connections("tcp")
            if each.raddr and each.raddr.port == port
        ]

    until(found, "the gateway of a connection")
    return found()[0]


def test_a_client_that_streams_at_another_gateway_hears_of_the_turns_end(
    stack: Stack, client: Anthropic, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    until(lambda: len(stack.supervised("gateway")) == 2, "both gateways")
    talk = Talk(client, OWNERS_RULES)
    with contextlib.ExitStack() as opened:
        streams: dict[int, Stream] = {}
        while len(streams) < 2:
            stream = opened.enter_context(contextlib.closing(Stream(stack, talk.id)))
            streams.setdefault(stream.gateway, stream)
        # The gateway that is told of the message runs its turn.
        before = ports_to(stack)
        with Anthropic(base_url=client.base_url, api_key="unused", max_retries=0) as fresh:
            fresh.beta.sessions.events.send(talk.id, events=[says(act(target))])
            runs_the_turn = gateway_behind(stack, before)
        until(target.exists, "the tool")
        del streams[runs_the_turn]
        [other] = streams.values()
        assert "session.error" not in other.kinds
        os.kill(runs_the_turn, signal.SIGKILL)
        until(lambda: "session.status_idle" in other.kinds, "the end of the turn")
        assert other.kinds[-2:] == ["session.error", "session.status_idle"]
    assert_cut_off_once(talk, target)


def test_a_turn_whose_worker_died_breaks_off_and_a_waiting_call_with_it(
    stack: Stack, client: Anthropic, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    talk = Talk(client, OWNERS_RULES, TICKET)
    talk.say(f"{act(target, seconds=0)}[[tool:{CUSTOM_TOOLS_PREFIX}ticket]]")
    [use] = talk.until("session.status_idle")[-1]["stop_reason"]["event_ids"]
    stack.wait_replaced("sdk_worker", stack.kill("sdk_worker"))
    events = talk.until("session.error")
    assert "is gone" in events[kinds(events).index("session.error")]["error"]["message"]
    result = {"type": "user.custom_tool_result", "custom_tool_use_id": use}
    with pytest.raises(anthropic.BadRequestError, match="may be over"):
        talk.send(result)
    assert_cut_off_once(talk, target, ends=2)


def test_a_confirmation_outlives_the_permission_service(
    stack: Stack, client: Anthropic, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    talk = Talk(client, ASK_BASH)
    talk.say(act(target, seconds=0))
    [use] = talk.until("session.status_idle")[-1]["stop_reason"]["event_ids"]
    stack.kill("permission_service")
    # Sent while there is none: the next one gets it.
    talk.send({"type": "user.tool_confirmation", "tool_use_id": use, "result": "allow"})
    events = talk.until("session.status_idle", 2)
    assert "session.error" not in kinds(events)
    assert kinds(events).count("user.tool_confirmation") == 1
    talk.goes_on()
    assert target.read_text() == "once\n"


def test_a_session_goes_on_after_redis_died_between_two_turns(
    stack: Stack, client: Anthropic
) -> None:
    talk = Talk(client)
    talk.say("[[say:First.]] first")
    before = talk.until("session.status_idle")
    stack.wait_replaced("redis", stack.kill("redis"))
    assert talk.events() == before
    talk.goes_on()
    truth = GroundTruth(stack.simulator_url)
    asked = truth.last("/v1/messages").body["messages"]
    truth.close()
    assert "[[say:First.]] first" in str(asked[:-1])
