"""Workers of several machines on one Redis. The real ones are processes with a home and folders of
their own and the real `claude`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from shared.bus import Timings
from shared.bus.channels import KnownSession, encode_payload, labelled_turns
from shared.bus.session_store import open_session_store
from shared.runtime.process import DRAINED_EXIT
from shared.settings.tree import SdkSettings, load_settings
from tests.support.sdk_stack import body
from tests.support.simulator_fixture import API_KEY
from tests.unit.gateway.conftest import serve

pytestmark = pytest.mark.timeout(120)

PROGRAM = Path(sys.executable).with_name("ccproxy-sdk-worker")
PATIENT = Timings(no_worker=20)  # a process needs its time to start
STOP_SECONDS = 20.0
BETA = {"anthropic-beta": "managed-agents-2026-04-01"}


class Machines:
    """Workers that share nothing but Redis, and a gateway in front of them."""

    def __init__(self, redis_url, simulator_url, root, client, bus):
        self.client = client
        self.bus = bus
        self.root = root
        self._processes = {}
        self._environment = os.environ | {
            "REDIS__URL": redis_url,
            "CLAUDE__BASE_URL": simulator_url,
            "CLAUDE__API_KEY": API_KEY,
            "CLAUDE__SDK_MESSAGE_MODE": "ignore",
            "CLAUDE__BUILTIN_PERMISSIONS": "false",  # there is no permission service to ask
            "SDK__POOL_SIZE": "0",
            "SDK__SHARE_TRANSCRIPTS": "true",
        }

    async def start(self, name, **settings):
        """Start the worker `name` with an empty home, and return once it serves."""
        home = self.root / name
        folder = home / "work"
        folder.mkdir(parents=True, exist_ok=True)
        own = {
            "HOME": str(home),
            "CCPROXY_INSTANCE": name,
            "CLAUDE__CODE_OPTIONS__CWD": str(folder),
        }
        env = {key: value for key, value in self._environment.items() if key != "CLAUDE_CONFIG_DIR"}
        self._processes[name] = self._run(env | own | settings, home)
        await self.until(lambda workers: name in workers)

    def _run(self, env, home):
        return subprocess.Popen([PROGRAM], env=env, cwd=home)

    async def until(self, is_so):
        """Return the live workers by name, as soon as `is_so` of them."""
        async with asyncio.timeout(STOP_SECONDS):
            while True:
                found = (await self.client.get("/sdk/status")).json()["workers"]
                workers = {worker["instance"]: worker for worker in found if "driver" in worker}
                if is_so(workers):
                    return workers
                await asyncio.sleep(0.05)

    async def kill(self, name):
        """Kill a worker with its programs, as a machine that loses its power."""
        programs = psutil.Process(self._processes[name].pid).children(recursive=True)
        self._processes[name].kill()
        self._processes.pop(name).wait(STOP_SECONDS)
        psutil.wait_procs(programs, STOP_SECONDS)
        await self.until(lambda workers: name not in workers)

    async def exit_code(self, name):
        """Return the exit code of a worker that ends by itself."""
        return await asyncio.to_thread(self._processes.pop(name).wait, STOP_SECONDS)

    async def say(self, text, session="", **headers):
        """Send one turn and return the reply."""
        return await self.client.post(
            f"/sdk/{session}/v1/messages".replace("//", "/"),
            json=body(text) | {"stream": False},
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    def end(self):
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(STOP_SECONDS)


@pytest.fixture
async def machines(redis_url, simulator_url, bus_factory, tmp_path):
    async with AsyncExitStack() as opened:
        bus = await bus_factory(timings=PATIENT)
        settings = load_settings(claude={"base_url": simulator_url, "api_key": API_KEY})
        running = await opened.enter_async_context(serve(settings, bus, None))
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{running.port}", timeout=60, trust_env=False
        )
        await opened.enter_async_context(client)
        house = Machines(redis_url, simulator_url, tmp_path, client, bus)
        opened.callback(house.end)
        yield house


def heard(simulator):
    """What was said in the conversation of the last request, without what the program adds."""
    messages = simulator.last("/v1/messages").body["messages"]
    texts = []
    for message in messages:
        content = message["content"]
        blocks = [{"text": content}] if isinstance(content, str) else content
        texts += [block["text"] for block in blocks if "text" in block]
    return [
        text for text in texts if not text.startswith("<system-rem") and "# Environ" not in text
    ]


async def moved_from_a_to_b(machines, simulator):
    """Have a conversation whose second turn another machine runs, because the first is gone."""
    await machines.start("a")
    first = await machines.say("[[say:first answer]]", "talk")
    assert first.status_code == 200, first.text
    await machines.kill("a")
    await machines.start("b")
    second = await machines.say("[[say:second answer]]", "talk")
    assert second.status_code == 200, second.text
    assert heard(simulator) == ["[[say:first answer]]", "first answer", "[[say:second answer]]"]


@pytest.mark.long
@pytest.mark.claude
async def test_a_conversation_whose_machine_is_gone_goes_on_at_another_with_its_history(
    machines, simulator
):
    await moved_from_a_to_b(machines, simulator)


@pytest.mark.claude
@pytest.mark.matrix
async def test_a_conversation_that_comes_back_to_a_machine_does_not_believe_the_old_file_there(
    machines, simulator
):
    await moved_from_a_to_b(machines, simulator)
    await machines.kill("b")
    await machines.start("a")
    third = await machines.say("[[say:third answer]]", "talk")
    assert third.status_code == 200, third.text
    assert heard(simulator)[2:] == [
        "[[say:second answer]]",
        "second answer",
        "[[say:third answer]]",
    ]
    files = list((machines.root / "a").rglob("projects/*/*.jsonl"))
    assert len(files) == 1


@pytest.fixture
async def fleet(open_gateway_at, bus_factory):
    """A client of a gateway, and the bus of a worker with two labels that takes no turn."""
    worker = await bus_factory("sdk_worker", instance="attic")
    worker.describe(labels=["gpu", "home"], host="attic-host", idle=1, busy=0, driver="x")
    url = await open_gateway_at()
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        async with asyncio.timeout(STOP_SECONDS):
            while "labels" not in (await client.get("/sdk/status")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield client, worker


ASKED = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/sdk/v1/messages", {"type": "error"}),
        ("/sdk/v1/chat/completions", {}),
        ("/sdk/v1/responses", {}),
    ],
)
async def test_labels_that_no_worker_has_are_refused_in_the_clients_format(fleet, path, kind):
    client, _ = fleet
    asked = ASKED | {"max_tokens": 10}
    if path.endswith("responses"):
        asked = {"model": "claude-sonnet-4-5", "input": "hi"}
    refused = await client.post(path, json=asked, headers={"x-ccproxy-worker": "gpu, cellar"})
    answer = refused.json()
    assert refused.status_code == 503
    assert kind.items() <= answer.items()
    assert answer["error"]["message"] == (
        "x-ccproxy-worker: no worker has cellar, gpu together; the labels are gpu, home, and the "
        "workers are attic."
    )
    wrong = await client.post(path, json=asked, headers={"x-ccproxy-worker": "two words"})
    assert wrong.status_code == 400
    assert "'two words' is not a label" in wrong.json()["error"]["message"]


async def test_the_state_of_the_workers_counts_the_turns_that_wait_for_a_label(fleet):
    client, worker = fleet
    async with worker.call(labelled_turns(["home"]), {}):
        status = (await client.get("/sdk/status")).json()
    assert status["chosen"] == [{"labels": ["home"], "waiting": 1}]
    [shown] = status["workers"]
    assert (shown["instance"], shown["host"]) == ("attic", "attic-host")
    assert 0 <= time.time() - shown["beat_at"] < STOP_SECONDS


async def test_the_environment_of_a_managed_agent_chooses_with_labels_only(fleet):
    client, _ = fleet
    for worker, status in (("gpu, home", 200), ("two words", 400)):
        environment = {"name": "here", "metadata": {"worker": worker}}
        made = await client.post("/sdk/v1/environments", json=environment, headers=BETA)
        assert made.status_code == status, made.text
    assert "metadata.worker" in made.json()["error"]["message"]


async def test_a_conversation_that_is_forgotten_leaves_no_copy_of_its_transcript(fleet):
    client, bus = fleet
    transcripts = open_session_store(bus, SdkSettings())
    known = KnownSession("t1", turns=1, name="talk")
    await bus.put("session:key", encode_payload(known), ttl=60)
    copy = {"project_key": "session:key", "session_id": "t1"}
    await transcripts.append(copy, [{"type": "user", "uuid": "a"}])
    assert (await client.delete("/sdk/sessions/talk")).json() == {"forgotten": 1}
    assert await transcripts.load(copy) is None


async def test_a_worker_of_any_machine_that_is_told_to_finish_ends_and_the_others_are_named(
    machines,
):
    await machines.start("a")
    unknown = await machines.client.post("/sdk/workers/b/drain", json={})
    assert unknown.status_code == 404
    assert "The workers are: a." in unknown.json()["error"]["message"]
    told = await machines.client.post("/sdk/workers/a/drain", json={})
    assert told.json() == {"draining": ["a"]}
    assert await machines.exit_code("a") == DRAINED_EXIT
    await machines.until(lambda workers: not workers)
