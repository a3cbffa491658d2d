"""Named conversations over two workers on a real bus: where their turns run, and never two at once.
No real program.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import orjson
import pytest

from gateway.metering.quota import QuotaWatch
from gateway.providers import Outgoing
from gateway.providers.sdk import Sdk
from gateway.proxy.catalogue import Catalogue
from sdk_worker.custom_tools import ResultDesk
from sdk_worker.reply import LeftReplies
from sdk_worker.sessions import Sessions
from sdk_worker.worker import TurnTimeouts, Worker
from shared.bus import Bus
from shared.bus.channels import AccessRecord, labelled_turns
from shared.runtime.errors import Conflict, NoWorker
from shared.runtime.metrics import LineMetrics, Metrics
from shared.settings.providers import CodeOptions

INIT = {"type": "system", "subtype": "init", "session_id": "transcript"}
START = {
    "type": "stream_event",
    "event": {"type": "message_start", "message": {"id": "m", "usage": {}}},
}
END = {
    "type": "stream_event",
    "event": {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
}
RESULT = {"type": "result", "subtype": "success", "num_turns": 1}


class Script:
    """What every process of a test has in common: `held` names whose answers may not end yet."""

    def __init__(self):
        self.held, self.let_go = "", asyncio.Event()
        self.running = self.most = 0

    def hold(self, whose):
        self.held, self.let_go = whose, asyncio.Event()


class Process:
    """A conversation and its program in one: each line said to it is answered by a whole turn."""

    def __init__(self, script, launch):
        self.script, self.launch, self.alive, self.turns = script, launch, True, 0
        self.program, self.lines = self, asyncio.Queue()
        self.started_at = time.monotonic()

    def on_behalf(self, turn, note):
        return contextlib.nullcontext()

    def say(self, line):
        self.turns += 1
        self.script.running += 1
        self.script.most = max(self.script.most, self.script.running)
        for each in (INIT, START, END, RESULT):
            self.lines.put_nowait(each)

    async def read(self):
        line = await self.lines.get()
        if line is END:
            if self.script.held == ("named" if self.launch.kept else "nameless"):
                await self.script.let_go.wait()
            self.script.running -= 1
        return line

    def read_now(self):
        return None

    async def has_line(self, *, within):
        return True

    async def control(self, subtype, **request):
        return {}

    def resident_bytes(self):
        return 1


class Pool:
    def __init__(self, script):
        self.script, self.made = script, []

    async def take(self, launch, binding):
        self.made.append(Process(self.script, launch))
        return self.made[-1]

    start = take

    def retire(self, process):
        process.alive = False
        return asyncio.ensure_future(asyncio.sleep(0))


@dataclass
class Serving:
    """One worker on a bus of its own."""

    bus: Bus
    pool: Pool
    slots: int
    timeout: float
    labels: tuple[str, ...] = ()
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    drain: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self):
        name = self.bus.address.split(":")[1]
        told = {"limit": 4, "idle": 60, "timeout": self.timeout, "kept_by": self.bus.address}
        sessions = Sessions(self.pool, self.bus, CodeOptions(), **told)
        left = LeftReplies(self.bus, self.bus.address, seconds=20)
        timeouts = TurnTimeouts(10, 10, 10)
        worker = Worker(
            self.pool,
            sessions,
            left,
            ResultDesk(self.bus.address, None),
            name=name,
            mode="ignore",
            pretty=False,
            timeouts=timeouts,
            labels=self.labels,
        )
        self.bus.describe(labels=self.labels)
        serving = worker.serve(self.bus, slots=self.slots, stop=self.stop, drain=self.drain)
        self.task = asyncio.create_task(serving)


async def no_models():
    return []


@pytest.fixture
async def house(bus_factory):
    """`await house.start("w0", slots=2)` starts a worker; `await house.say("name")` is a turn, and
    who answered it.
    """

    class House:
        def __init__(self, bus):
            self.bus, self.script, self.workers = bus, Script(), []

        async def start(self, name, slots=4, timeout=10.0, labels=()):
            bus = await bus_factory("sdk_worker", instance=name)
            worker = Serving(bus, Pool(self.script), slots, timeout, labels)
            self.workers.append(worker)
            if labels:
                await self.until_known(instance=name, labels=list(labels))
            return worker

        async def until_known(self, **facts):
            """Return once the heartbeat of a worker tells `facts`."""
            async with asyncio.timeout(10):
                while not await self.knows(facts):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

        async def knows(self, facts):
            found = await self.bus.processes()
            return any(facts.items() <= each.items() for each in found)

        async def say(self, name="", text="hi", gateway=None, worker=""):
            body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": text}]})
            record = AccessRecord("r", 0.0)
            headers = {b"x-ccproxy-worker": worker.encode()} if worker else {}
            models, quota = Catalogue(no_models, "x", {}), QuotaWatch("claude")
            sdk = Sdk(gateway or self.bus, models, quota, LineMetrics(Metrics()), max_waiting=64)
            opened = await sdk.open(
                Outgoing("POST", "/v1/messages", headers, body, record, session=name)
            )
            await opened.aclose()
            return record.worker

    house = House(await bus_factory())
    yield house
    for worker in house.workers:
        worker.stop.set()
        await worker.task


async def running(house, count):
    async with asyncio.timeout(10):
        while house.script.running < count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_every_turn_of_a_conversation_meets_the_process_of_the_first(house):
    one, two = await house.start("w0"), await house.start("w1")
    names = ["a", "b", "c", "d"]
    first = [await house.say(name) for name in names]
    for _ in range(5):
        assert [await house.say(name) for name in names] == first
    assert [process.turns for worker in (one, two) for process in worker.pool.made] == [6] * 4


async def test_two_turns_of_a_conversation_never_run_at_once_wherever_they_land(house):
    for name in ("w0", "w1"):
        await house.start(name, slots=2)
    house.script.hold("named")
    turns = [asyncio.create_task(house.say("a")) for _ in range(4)]
    await running(house, 1)
    house.script.let_go.set()
    await asyncio.gather(*turns)
    assert house.script.most == 1


@pytest.mark.long
async def test_a_turn_that_waits_too_long_for_another_is_told_so(house):
    await house.start("w0", timeout=0.05)
    house.script.hold("named")
    first = asyncio.create_task(house.say("a"))
    await running(house, 1)
    with pytest.raises(Conflict, match="busy with another turn"):
        await house.say("a")
    house.script.let_go.set()
    await first


@pytest.mark.long
@pytest.mark.parametrize("state", ["busy", "draining", "gone"])
async def test_a_worker_that_cannot_take_the_turn_leaves_it_to_another_at_once(house, state):
    one = await house.start("w0", slots=1)
    assert await house.say("a") == "w0"
    if state == "gone":
        one.stop.set()
        await one.task
        await house.start("w1")
        assert await house.say("a") == "w1"
    else:
        house.script.hold("nameless")
        other = asyncio.create_task(house.say())
        await running(house, 1)
        two = await house.start("w1")
        if state == "draining":
            one.drain.set()
        assert await house.say("a") == "w1"
        assert two.pool.made[-1].launch.resumed == "transcript"
        house.script.let_go.set()
        assert await other == "w0"
    assert await house.say("a") == "w1"


@pytest.mark.long
@pytest.mark.parametrize("name", ["", "a"])
async def test_a_turn_whose_gateway_died_is_found_again_by_the_same_request_though_its_worker_is_full(
    house, bus_factory, name
):
    one = await house.start("w0", slots=1)
    await house.start("w1", slots=0)
    dying = await bus_factory("gateway", instance="dying")
    house.script.hold("named" if name else "nameless")
    cut_off = asyncio.create_task(house.say(name, gateway=dying))
    await running(house, 1)
    await house.bus.report_exit("gateway", "dying")
    async with asyncio.timeout(10):
        while not await house.bus.scan("left:"):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    other = asyncio.create_task(house.say(name and "b", "something else"))
    await running(house, 2)
    again = asyncio.create_task(house.say(name))
    house.script.let_go.set()
    assert await again == await other == "w0"
    assert [process.turns for process in one.pool.made] == [1, 1]
    cut_off.cancel()
    await asyncio.gather(cut_off, return_exceptions=True)


async def test_a_turn_runs_where_all_of_its_labels_are_or_at_the_worker_that_it_names(house):
    await house.start("w0", labels=("gpu",))
    await house.start("w1", labels=("gpu", "home"))
    for _ in range(3):
        assert await house.say(worker="home, gpu") == "w1"
        assert await house.say(worker="w0") == "w0"
    assert await house.say() in {"w0", "w1"}
    with pytest.raises(NoWorker, match="the labels are gpu, home"):
        await house.say(worker="attic")


async def test_a_turn_for_a_label_waits_for_its_workers_while_others_are_free(house):
    one = await house.start("w0", slots=1, labels=("gpu",))
    await house.start("w1")
    house.script.hold("nameless")
    first = asyncio.create_task(house.say(worker="gpu"))
    await running(house, 1)
    second = asyncio.create_task(house.say(worker="gpu"))
    async with asyncio.timeout(10):
        while not await house.bus.waiting(labelled_turns(["gpu"])):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    house.script.let_go.set()
    assert await asyncio.gather(first, second) == ["w0", "w0"]
    assert house.script.most == 1
    assert len(one.pool.made) == 2


async def test_a_conversation_leaves_the_process_that_it_has_for_the_workers_that_it_chooses(house):
    await house.start("w0", labels=("home",))
    assert await house.say("a") == "w0"
    await house.start("w1", labels=("gpu",))
    assert await house.say("a", worker="gpu") == "w1"
    assert await house.say("a") == "w1"


async def test_a_worker_that_is_finishing_takes_no_turn_of_its_labels(house):
    one = await house.start("w0", labels=("gpu",))
    one.bus.describe(draining=True)
    one.drain.set()
    await one.task
    await house.until_known(draining=True)
    with pytest.raises(NoWorker, match="no worker is there"):
        await house.say(worker="gpu")
