"""Workers on two hosts, with two gateways and Redis on a third: balance, a host that is lost, a
partition that heals, a rolling restart, and a conversation that moves.

The hosts are namespaces of this machine (`tests/support/hosts.py`). Only the provider is simulated.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest
import redis

from ccproxy.launcher.programs import find_script
from ccproxy.launcher.redis_server import find_server
from shared.bus.channels import ACCESS_RECORD, AccessRecord
from shared.bus.records import unpack
from shared.bus.watch import DEFAULT_TIMINGS
from shared.bus.wire import channel_key
from shared.formats.sse import Parser
from shared.settings.servers import RedisSettings
from tests.support.hosts import Host, Hub, why_no_hosts
from tests.support.simulator_fixture import API_KEY, GroundTruth, Seen
from tests.support.stack import START_DEADLINE, clean_environment, until

pytestmark = [pytest.mark.long, pytest.mark.claude, pytest.mark.timeout(240)]

MODEL = "claude-sonnet-4-5"
PASSWORD = "a-password"
REDIS_PORT = 6379
SIMULATOR_PORT = 8400
GATEWAY_PORTS = (8001, 8002)
TURNS_AT_ONCE = 4
# The silence after which a process counts as gone, two beats, and what a busy machine takes.
LOST_SECONDS = DEFAULT_TIMINGS.lease + 2 * DEFAULT_TIMINGS.beat + 3
ENDLESS = "[[scenario:slow-100x3000]]"
Event = dict[str, Any]


class HeardTurn:
    """A streamed turn as its client hears it, read by another thread."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.begun = threading.Event()
        self.ended_at = 0.0  # monotonic seconds
        self.reading: Future[None]

    def read(self, http: httpx.Client, body: dict[str, Any], headers: dict[str, str]) -> None:
        parser = Parser()
        request = {"json": body | {"stream": True}, "headers": headers}
        with http.stream("POST", "/sdk/v1/messages", **request) as reply:
            assert reply.status_code == 200, reply.read()
            for chunk in reply.iter_raw():
                self.events += [orjson.loads(event.data) for event in parser.feed(chunk)]
                if any(event["type"] == "content_block_delta" for event in self.events):
                    self.begun.set()
        self.ended_at = time.monotonic()

    def wait_begun(self) -> HeardTurn:
        """Return once the first words are here."""
        until(lambda: self.begun.is_set() or self.reading.done(), "the first words of a turn")
        assert self.begun.is_set(), self.reading.result()
        return self

    def end(self) -> Event:
        """Return the last event, once it is here."""
        self.reading.result(60)
        return self.events[-1]


class Fleet:
    """The hub with Redis, the simulator, the permission service and two gateways; the hosts `a` and
    `b` with a worker each. Clients connect at the hub.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hub = Hub("hub", folder / "hub")
        self._threads = self._hub.threads(24)
        self._https = [
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
            for port in GATEWAY_PORTS
        ]
        self._truth = GroundTruth(f"http://{Hub.address}:{SIMULATOR_PORT}")
        self._hosts: dict[str, Host] = {}
        self._gateways: dict[int, psutil.Process] = {}
        self._numbers = itertools.count()

    def start(self) -> None:
        """Start all but the gateways at the hub; `whole` starts these and the hosts."""
        folder = self._hub.folder
        lines = [f"port {REDIS_PORT}", "bind 0.0.0.0", f"requirepass {PASSWORD}", f"dir {folder}"]
        configuration = folder / "redis.conf"
        configuration.write_text("\n".join([*lines, 'save ""', ""]))
        self._hub.start([find_server(RedisSettings()), configuration], {})
        place = ["--host", Hub.address, "--port", str(SIMULATOR_PORT), "--internal-network"]
        self._hub.start([*find_script("ccproxy-simulator"), *place], clean_environment(folder))
        self._hub.start(find_script("ccproxy-permission-service"), self._environment(folder))

    def stop(self) -> None:
        for host in self._hosts.values():
            host.end()
        self._hub.end()
        self._threads.shutdown()
        for http in self._https:
            http.close()
        self._truth.close()

    def start_gateway(self, number: int) -> None:
        """Start the gateway `number`; `at_hub` finds it once it listens."""
        own = {
            "CCPROXY_INSTANCE": f"gateway_{number}",
            "SERVER__PORT": str(GATEWAY_PORTS[number]),
            "SERVER__SHUTDOWN_GRACE_SECONDS": "20",
        }
        environment = self._environment(self._hub.folder) | own
        self._gateways[number] = self._hub.start(find_script("ccproxy-gateway"), environment)

    def whole(self) -> None:
        """Start what is not there, and return once both gateways see the workers of both hosts."""
        for number, name in enumerate(("a", "b"), 2):
            if name not in self._hosts:
                host = Host(f"host-{name}", self._folder / f"host-{name}")
                self._hosts[name] = host
                self._hub.link(host, number)
                self._start_worker(name, host)
            self._hub.mend(self._hosts[name])
        for number in range(len(GATEWAY_PORTS)):
            if number not in self._gateways:
                self.start_gateway(number)
            self.until_seen("host-a", "host-b", gateway=number)
        self.at_hub(self._truth.clear)

    def _start_worker(self, name: str, host: Host) -> None:
        work = host.folder / "work"
        work.mkdir(exist_ok=True)
        own = {
            "SDK__LABELS": f'["{name}"]',
            "SDK__POOL_SIZE": "0",
            "SDK__MAX_TURNS_AT_ONCE": str(TURNS_AT_ONCE),
            "CLAUDE__CODE_OPTIONS__CWD": str(work),
        }
        environment = self._environment(host.folder) | own
        host.start(find_script("ccproxy-sdk-worker"), environment)

    def _environment(self, home: Path) -> dict[str, str]:
        return clean_environment(home) | {
            "REDIS__URL": f"redis://:{PASSWORD}@{Hub.address}:{REDIS_PORT}/0",
            "CLAUDE__BASE_URL": f"http://{Hub.address}:{SIMULATOR_PORT}",
            "CLAUDE__API_KEY": API_KEY,
            "SECURITY__PROVIDER_HOSTS": f'["{Hub.address}"]',
            "CLAUDE__SDK_MESSAGE_MODE": "ignore",
            "CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS": '["Bash"]',
        }

    def at_hub(self, do: Callable[..., Any], *arguments: Any) -> Any:
        """Return what `do` returns in a thread whose connections begin at the hub."""
        return self._threads.submit(do, *arguments).result(90)

    def _sees(self, gateway: int) -> list[str]:
        """Return the hosts of the workers that a gateway sees; none while it does not answer."""
        try:
            found = self.at_hub(self._https[gateway].get, "/sdk/status").json()["workers"]
        except httpx.TransportError:
            return []
        return sorted(worker["host"] for worker in found if "host" in worker)

    def until_seen(self, *hosts: str, gateway: int = 0) -> None:
        """Return once a gateway sees the workers of these hosts, and no other."""

        def seen() -> bool:
            for host in (self._hub, *self._hosts.values()):
                host.assert_well()
            return self._sees(gateway) == list(hosts)

        until(seen, f"the workers of {hosts} and no other", START_DEADLINE)

    def new_text(self, directive: str) -> str:
        """Return a prompt that no other turn has."""
        return f"{directive} number {next(self._numbers)}."

    def say_later(
        self, text: str, *, gateway: int = 0, session: str = "", worker: str = ""
    ) -> Future[httpx.Response]:
        """Send a turn that is answered whole."""
        path = f"/sdk/{session}/v1/messages" if session else "/sdk/v1/messages"
        headers = {"x-ccproxy-worker": worker} if worker else {}
        http = self._https[gateway]
        return self._threads.submit(http.post, path, json=ask(text), headers=headers)

    def say(self, text: str, **more: Any) -> str:
        """Send a turn and return the text of its answer."""
        return text_of(self.say_later(text, **more))

    def stream(self, text: str, *, gateway: int = 0, worker: str = "") -> HeardTurn:
        """Return a streamed turn whose first words are here."""
        turn = HeardTurn()
        headers = {"x-ccproxy-worker": worker} if worker else {}
        turn.reading = self._threads.submit(turn.read, self._https[gateway], ask(text), headers)
        return turn.wait_begun()

    def asked(self, text: str) -> list[Seen]:
        """Return the requests at the provider whose last prompt is `text`."""
        found = self.at_hub(self._truth.requests, "/v1/messages")
        return [seen for seen in found if text in said(seen)[-1:]]

    def ran(self, text: str) -> list[str]:
        """Return the host of each request that a program made for the prompt `text`."""
        folders = {str(host.folder).encode(): name for name, host in self._hosts.items()}
        return [
            name
            for seen in self.asked(text)
            for folder, name in folders.items()
            if folder in seen.raw
        ]

    def records(self, session: str) -> list[AccessRecord]:
        """Return the records of the turns of a conversation, which no analytics takes here."""
        with redis.Redis(Hub.address, REDIS_PORT, password=PASSWORD) as client:
            entries = self.at_hub(client.xrange, channel_key(ACCESS_RECORD))
        records = [record for _, data in entries for record in unpack(data[b"data"])]
        return [record for record in records if record.session_id == session]

    def lose(self, name: str) -> None:
        """Let a host lose its power."""
        self._hub.lose(self._hosts.pop(name))

    def log(self, name: str) -> str:
        """Return what the worker of a host has logged."""
        return self._hosts[name].log("ccproxy-sdk-worker").read_text()

    def cut(self, name: str) -> None:
        self._hub.cut(self._hosts[name])

    def mend(self, name: str) -> None:
        self._hub.mend(self._hosts[name])

    def stop_gateway(self, number: int) -> psutil.Process:
        """Tell a gateway to stop, and return its process."""
        process = self._gateways.pop(number)
        process.send_signal(signal.SIGTERM)
        return process

    def answers(self, gateway: int) -> bool:
        return bool(self._sees(gateway))


def ask(text: str) -> dict[str, Any]:
    return {
        "model": MODEL,
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": text}],
    }


def text_of(reply: Future[httpx.Response]) -> str:
    """Return the text of a whole answer."""
    answer = reply.result(60)
    assert answer.status_code == 200, answer.text
    return "".join(block.get("text", "") for block in answer.json()["content"])


def said(seen: Seen) -> list[str]:
    """Return the texts of a conversation as the provider got it, without what the program adds."""
    texts = []
    for message in seen.body["messages"]:
        content = message["content"]
        blocks = [{"text": content}] if isinstance(content, str) else content
        texts += [block["text"] for block in blocks if "text" in block]
    return [
        text for text in texts if not text.startswith("<system-rem") and "# Environ" not in text
    ]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if why_not := why_no_hosts():
        pytest.skip(why_not)
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def fleet(started: Fleet) -> Fleet:
    """The fleet with both hosts there and linked, whatever the test before did to them."""
    started.whole()
    return started


def test_turns_at_once_are_run_by_both_hosts_and_their_tools_act_there(fleet: Fleet) -> None:
    turns = 2 * TURNS_AT_ONCE
    texts = [fleet.new_text('[[tool:Bash {"command": "hostname"}]]') for _ in range(turns)]
    replies = [fleet.say_later(text, gateway=number % 2) for number, text in enumerate(texts)]
    answers = [text_of(reply) for reply in replies]
    shares = Counter(name for name in ("host-a", "host-b") for text in answers if name in text)
    assert shares == {"host-a": TURNS_AT_ONCE, "host-b": TURNS_AT_ONCE}
    # A request with the prompt, and one with the result of the tool.
    assert [len(fleet.asked(text)) for text in texts] == [2] * turns


def assert_lost(turn: HeardTurn, since: float) -> None:
    """Fail unless the turn ended with the typed error of a lost worker, in time."""
    end = turn.end()
    assert end["type"] == "error"
    assert "is gone" in end["error"]["message"]
    assert turn.ended_at - since < LOST_SECONDS


def test_a_lost_host_ends_its_turn_in_time_and_the_other_runs_all_that_follow(
    fleet: Fleet,
) -> None:
    text = fleet.new_text(ENDLESS)
    turn = fleet.stream(text, worker="b")
    lost_at = time.monotonic()
    fleet.lose("b")
    # Sent while nobody knows of the loss yet: Redis may hand them to the lost host.
    next_texts = [fleet.new_text("[[say:Served.]]") for _ in range(TURNS_AT_ONCE)]
    replies = [fleet.say_later(each, gateway=number % 2) for number, each in enumerate(next_texts)]
    assert_lost(turn, lost_at)
    assert [text_of(reply) for reply in replies] == ["Served."] * TURNS_AT_ONCE
    assert [fleet.ran(each) for each in next_texts] == [["a"]] * TURNS_AT_ONCE
    assert len(fleet.asked(text)) == 1
    fleet.until_seen("host-a")
    refused = fleet.say_later(fleet.new_text("[[say:Nobody.]]"), worker="b").result(60)
    assert refused.status_code == 503
    assert "no worker has b; the labels are a" in refused.json()["error"]["message"]


@dataclass
class CutOff:
    """A turn that host `b` ran when its link was cut, and turns that were sent at that moment."""

    text: str
    next_texts: list[str]
    replies: list[Future[httpx.Response]]

    def assert_ran_once(self, fleet: Fleet, *hosts: str) -> None:
        """Fail unless every turn was answered or lost, and ran once: the later ones on `hosts`."""
        assert [text_of(reply) for reply in self.replies] == ["Served."] * TURNS_AT_ONCE
        # The host has heard by the end that nobody waits for the turn that the cut ended.
        until(lambda: all(each.cancelled for each in fleet.asked(self.text)), "its end")
        assert fleet.ran(self.text) == ["b"]
        ran = [fleet.ran(each) for each in self.next_texts]
        assert [len(each) for each in ran] == [1] * TURNS_AT_ONCE
        assert {host for each in ran for host in each} <= set(hosts)


def cut_off(fleet: Fleet) -> CutOff:
    """Cut the link of host `b` in the middle of a turn; return once the client has heard of it."""
    text = fleet.new_text(ENDLESS)
    turn = fleet.stream(text, worker="b")
    cut_at = time.monotonic()
    fleet.cut("b")
    # Sent while nobody knows of the cut yet: Redis may hand them to the host behind it.
    next_texts = [fleet.new_text("[[say:Served.]]") for _ in range(TURNS_AT_ONCE)]
    replies = [fleet.say_later(each, gateway=number % 2) for number, each in enumerate(next_texts)]
    assert_lost(turn, cut_at)
    return CutOff(text, next_texts, replies)


def assert_serves(fleet: Fleet, name: str) -> None:
    """Fail unless a host joins by itself and runs a turn, once."""
    fleet.until_seen("host-a", "host-b")
    text = fleet.new_text("[[say:Back.]]")
    assert fleet.say(text, worker=name) == "Back."
    assert fleet.ran(text) == [name]


def test_a_host_serves_again_after_a_partition_that_it_noticed(fleet: Fleet) -> None:
    lost = cut_off(fleet)
    fleet.until_seen("host-a")
    until(lambda: "bus_lost" in fleet.log("b"), "the worker behind the cut to notice it")
    fleet.mend("b")
    assert_serves(fleet, "b")
    lost.assert_ran_once(fleet, "a")


def test_turns_that_wait_at_both_ends_of_a_partition_run_once_when_it_heals(fleet: Fleet) -> None:
    lost = cut_off(fleet)
    # Some of the turns lie in the buffers of the host's connections, and are free for the other.
    fleet.mend("b")
    lost.assert_ran_once(fleet, "a", "b")
    assert_serves(fleet, "b")


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_gateway_that_is_replaced_costs_no_turn(fleet: Fleet, stopped: int) -> None:
    other = 1 - stopped
    beside = fleet.stream(fleet.new_text("[[scenario:slow-100x90]]"), gateway=other)
    inside = fleet.stream(fleet.new_text("[[scenario:slow-100x15]]"), gateway=stopped)
    process = fleet.stop_gateway(stopped)
    assert fleet.say(fleet.new_text("[[say:Served.]]"), gateway=other) == "Served."
    # The turn of the gateway that stops goes on within its grace.
    assert inside.end()["type"] == "message_stop"
    until(lambda: not process.is_running(), "the end of the gateway")
    assert not beside.reading.done()
    fleet.start_gateway(stopped)
    until(lambda: fleet.answers(stopped), "the next gateway")
    assert fleet.say(fleet.new_text("[[say:Served.]]"), gateway=stopped) == "Served."
    assert beside.end()["type"] == "message_stop"


def test_a_conversation_whose_host_is_lost_goes_on_at_the_other_with_its_history(
    fleet: Fleet,
) -> None:
    texts = [fleet.new_text(f"[[say:Answer {number}.]]") for number in range(3)]
    assert fleet.say(texts[0], session="talk", worker="a") == "Answer 0."
    assert fleet.say(texts[1], session="talk", gateway=1) == "Answer 1."
    assert fleet.ran(texts[1]) == ["a"]
    fleet.lose("a")
    assert fleet.say(texts[2], session="talk") == "Answer 2."
    assert fleet.ran(texts[2]) == ["b"]
    [seen] = fleet.asked(texts[2])
    assert said(seen) == [texts[0], "Answer 0.", texts[1], "Answer 1.", texts[2]]
    until(lambda: len(fleet.records("talk")) == len(texts), "the records of the conversation")
    records = fleet.records("talk")
    assert [record.worker[: len("host-a")] for record in records] == ["host-a", "host-a", "host-b"]
    assert all((record.cost_sdk_usd or 0) > 0 for record in records)
