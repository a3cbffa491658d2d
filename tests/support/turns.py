"""What clients of a running stack do with `/sdk`, and how to see that nothing of it stays; for its
tests and the soak.

`sdk_stack`     a stack with three workers whose tools are the program's own
`live_through`  requests of every fate beside each other, each with a secret; then every worker is as it was
`kill_one`      one worker killed among full ones, and how long it took until everybody knew
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil

from ccproxy.launcher.programs import find_script
from shared.formats.sse import Parser
from tests.support.simulator_fixture import GroundTruth
from tests.support.stack import DEADLINE, POLL, Stack, alive, simulated, simulators, stacks, until

WORKERS = 3
MODEL = "claude-sonnet-5-5"
FILES_BESIDE = 8  # connections to Redis that a worker opened under load and keeps
SECRET = re.compile(rb"SECRET-[A-Za-z0-9]+")

Event = dict[str, Any]
Fate = Callable[[httpx.AsyncClient, dict[str, Any]], Awaitable[str]]


def sdk_stack(homes: Callable[[], Path], **settings: str) -> Iterator[Stack]:
    more = {
        "SDK__WORKERS": str(WORKERS),
        "SDK__WARM": "start",
        "CLAUDE__SDK_MESSAGE_MODE": "ignore",
    } | settings
    for start_simulator in simulators(homes):
        for start in stacks(find_script("ccproxy"), homes, simulated(start_simulator()) | more):
            yield start().wait_ready()


def client_of(stack: Stack) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=stack.url, timeout=120, limits=limits, trust_env=False)


async def eventually(
    condition: Callable[[], Awaitable[Any]], what: str, deadline: float = DEADLINE
) -> Any:
    late = time.monotonic() + deadline
    while not (found := await condition()):
        assert time.monotonic() < late, f"waited {deadline} s for {what}"
        await asyncio.sleep(POLL)
    return found


async def status(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    workers: list[dict[str, Any]] = (await http.get("/sdk/status")).json()["workers"]
    return workers


def whole(workers: list[dict[str, Any]]) -> bool:
    """Every worker is there, with every spare."""
    return len(workers) == WORKERS and all(
        worker.get("idle") == worker.get("size", -1) for worker in workers
    )


async def at_rest(http: httpx.AsyncClient) -> dict[int, psutil.Process]:
    """The `claude` of every worker, by pid, once none works and every spare is there."""

    async def rested() -> dict[int, psutil.Process]:
        workers = await status(http)
        if not whole(workers) or any(worker["busy"] or worker["waiting"] for worker in workers):
            return {}
        found = {
            child.pid: child
            for worker in workers
            for child in psutil.Process(worker["pid"]).children()
        }
        wanted = sum(worker["idle"] + worker["sessions"] for worker in workers)
        return found if len(found) == wanted else {}

    found: dict[int, psutil.Process] = await eventually(rested, f"{WORKERS} whole pools")
    return found


def ask(content: Any, **more: Any) -> dict[str, Any]:
    messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
    return {"model": MODEL, "max_tokens": 1024, "messages": messages, **more}


@dataclass
class Heard:
    """The events of one stream as they come."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    events: list[Event] = field(default_factory=list)
    ended: float = 0.0

    async def listen(
        self, http: httpx.AsyncClient, body: dict[str, Any], *, leave: bool = False
    ) -> list[Event]:
        """To the end, or until the first word for those who leave then."""
        parser = Parser()
        async with http.stream("POST", "/sdk/v1/messages", json=body | {"stream": True}) as reply:
            assert reply.status_code == 200, await reply.aread()
            async for chunk in reply.aiter_raw():
                self.events += [orjson.loads(event.data) for event in parser.feed(chunk)]
                if any(event["type"] == "content_block_delta" for event in self.events):
                    self.begun.set()
                    if leave:
                        break
        self.ended = time.monotonic()
        return self.events


async def stream(
    http: httpx.AsyncClient, body: dict[str, Any], *, leave: bool = False
) -> list[Event]:
    return await Heard().listen(http, body, leave=leave)


def text_of(events: list[Event]) -> str:
    return "".join(
        event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta"
    )


# What becomes of a request that carries a secret. Each fails when its own end does not come.


async def is_answered(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    reply = await http.post("/sdk/v1/messages", json=body)
    assert reply.status_code == 200, reply.text
    return reply.text


async def is_answered_to_openai(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    messages = [{"role": "system", "content": body["system"]}, *body["messages"]]
    reply = await http.post("/sdk/v1/chat/completions", json={"model": MODEL, "messages": messages})
    assert reply.status_code == 200, reply.text
    return reply.text


async def is_streamed(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    events = await stream(http, body)
    assert events[-1]["type"] == "message_stop"
    return text_of(events)


async def is_refused(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    reply = await http.post("/sdk/v1/messages", json=directed(body, "429-30"))
    assert (reply.status_code, reply.json()["error"]["type"]) == (429, "rate_limit_error")
    return ""


async def breaks_off(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    events = await stream(http, directed(body, "error-5"))
    assert events[-1]["type"] == "error"
    return ""


async def is_left(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    await stream(http, directed(body, "slow-50x1000"), leave=True)
    return ""


async def takes_too_long(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    reply = await http.post("/sdk/v1/messages", json=directed(body, "hang"))
    assert (reply.status_code, reply.json()["error"]["type"]) == (504, "timeout_error")
    return ""


def directed(body: dict[str, Any], scenario: str) -> dict[str, Any]:
    *history, prompt = body["messages"]
    return body | {
        "messages": [*history, prompt | {"content": f"[[scenario:{scenario}]] {prompt['content']}"}]
    }


ANSWERED: tuple[Fate, ...] = (is_answered, is_streamed, is_answered_to_openai)


async def live_through(
    stack: Stack,
    http: httpx.AsyncClient,
    truth: GroundTruth,
    fates: Sequence[Fate],
    *,
    at_once: int,
) -> None:
    workers = [psutil.Process(worker["pid"]) for worker in await status(http)]
    files = [worker.num_fds() for worker in workers]
    line = asyncio.Semaphore(at_once)

    async def one(number: int, fate: Fate) -> None:
        secret = f"SECRET-x{number}x"
        history = [
            {"role": "user", "content": f"I am {secret}."},
            {"role": "assistant", "content": f"Hello {secret}."},
        ]
        body = ask(
            [*history, {"role": "user", "content": f"Who am I? {secret}"}],
            system=f"Serve {secret}.",
        )
        async with line:
            heard = await fate(http, body)
        if fate in ANSWERED:
            assert set(SECRET.findall(heard.encode())) == {secret.encode()}

    async with asyncio.TaskGroup() as tasks:
        for number, fate in enumerate(fates):
            tasks.create_task(one(number, fate))

    await at_rest(http)
    told = [set(SECRET.findall(seen.raw)) for seen in truth.requests("/v1/messages")]
    assert all(len(each) == 1 for each in told)
    assert set.union(*told) == {b"SECRET-x%dx" % number for number in range(len(fates))}
    assert [worker.is_running() for worker in workers] == [True] * WORKERS
    for worker, before in zip(workers, files, strict=True):
        assert worker.num_fds() <= before + FILES_BESIDE
        assert len(alive(worker.children())) == len(worker.children())
    assert not orphans(stack)


def orphans(stack: Stack) -> list[psutil.Process]:
    """A `claude` of this stack whose worker is gone."""
    mine = str(stack.home)
    found = []
    for process in psutil.process_iter(["name", "ppid", "environ"]):
        environment = process.info["environ"] or {}
        if (
            process.info["name"] == "claude"
            and process.info["ppid"] == 1
            and environment.get("HOME") == mine
        ):
            found.append(process)
    return found


@dataclass(frozen=True)
class Killed:
    """Seconds after the kill: `told` until its last stream had ended, `whole` until every worker
    had its spares.
    """

    told: float
    whole: float


async def kill_one(
    stack: Stack, http: httpx.AsyncClient, truth: GroundTruth, *, each: int
) -> Killed:
    """With `each` streams on every worker: those of the killed one end in a typed error, and the
    others go on.
    """
    body = ask("[[scenario:slow-100x3000]]")
    heard = [Heard() for _ in range(WORKERS * each)]
    async with contextlib.AsyncExitStack() as cleaning:
        streams = [asyncio.create_task(one.listen(http, body)) for one in heard]
        cleaning.push_async_callback(asyncio.gather, *streams, return_exceptions=True)
        for task in streams:
            cleaning.callback(task.cancel)
        await asyncio.gather(*(one.begun.wait() for one in heard))

        async def full() -> bool:
            workers = await status(http)
            return [worker["busy"] for worker in workers] == [each] * WORKERS and whole(workers)

        await eventually(full, "every worker to be full")
        programs = psutil.Process(stack.pid_of("sdk_worker")).children()
        at, killed = time.monotonic(), stack.kill("sdk_worker")
        await eventually(lambda: ended(streams, each), "the end of its streams")
        lost = [one for one in heard if one.ended]
        assert all("process working on this request is gone" in str(one.events[-1]) for one in lost)
        assert {one.events[-1]["type"] for one in lost} == {"error"}

        async def mended() -> bool:
            workers = await status(http)
            return whole(workers) and killed not in [worker["pid"] for worker in workers]

        await eventually(mended, "another worker")
        found = Killed(max(one.ended for one in lost) - at, time.monotonic() - at)
        until(lambda: not alive(programs), "the end of what the killed worker ran")
        await truth.until(
            lambda requests: len([seen for seen in requests if seen.cancelled]) == each
        )
        so_far = {id(one): len(one.events) for one in heard if one not in lost}
        others = [one for one in heard if id(one) in so_far]
        assert len(others) == (WORKERS - 1) * each
        await eventually(lambda: went_on(others, so_far), "the others to go on")
    return found


async def ended(streams: list[asyncio.Task[Any]], count: int) -> bool:
    return len([task for task in streams if task.done()]) >= count


async def went_on(others: list[Heard], so_far: dict[int, int]) -> bool:
    assert not [one for one in others if one.ended]
    return all(len(one.events) > so_far[id(one)] for one in others)
