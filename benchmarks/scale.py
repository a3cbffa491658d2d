"""Measure where the bus ends and what a `claude` costs: `make bench BENCH_ARGS="--only scale"`.

Simulated workers, without `claude`, answer simulated gateways over a real Redis, in processes of
their own: 200 workers in four processes, two gateways. A turn is a call that is answered by so many
replies of so many bytes. The figures that count are those per CPU-second, because everything here
shares the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import uvloop
from claude_agent_sdk import ClaudeSDKClient

from benchmarks import sdk
from benchmarks.report import Section, Table
from ccproxy.launcher.redis_server import find_server, render_config, socket_url
from shared.bus import Bus, Delivery
from shared.bus.channels import Channel
from shared.bus.serving import serve_each
from shared.runtime.errors import CCProxyError
from shared.settings.servers import RedisSettings

WORKERS = 200
WORKER_PROCESSES = 4
GATEWAYS = 2
SLOTS = 10  # of a worker: together as many as the most turns at once
STAMP_BYTES = 20
SAMPLE = 500  # values that a gateway reports of many
TURN = Channel("bench:turn", "on_accept", max_length=10_000)


@dataclass(frozen=True)
class Work:
    """A row: each gateway runs `turns` turns, `at_once` of them beside each other; a turn has
    `replies` of `size` bytes, `pause` seconds apart.
    """

    name: str
    turns: int
    at_once: int
    replies: int
    size: int
    pause: float = 0


WORKS = [
    Work("2,000 turns at once", 1000, 1000, 20, 200, pause=1.0),
    Work("calls", 2000, 64, 1, 200),
    Work("replies", 16, 16, 1000, 200),
    Work("bytes", 16, 8, 20, 64 * 1024),
]


async def run_workers(url: str, name: str, count: int) -> None:
    """Serve turns as `count` workers, until this process is ended."""

    async def answer(delivery: Delivery) -> None:
        work = json.loads(delivery.payload)
        padding = b"." * (work["size"] - STAMP_BYTES)
        for _ in range(work["replies"]):
            await delivery.send(f"{time.time_ns():020d}".encode() + padding)
            await asyncio.sleep(work["pause"])

    async with AsyncExitStack() as opened, asyncio.TaskGroup() as tasks:
        for number in range(count):
            bus = Bus(url, service="sdk_worker", instance=f"{name}-{number}")
            await opened.enter_async_context(bus)
            tasks.create_task(serve_each(bus, TURN, answer, slots=SLOTS, stop=asyncio.Event()))
        sys.stdout.write("ready\n")
        sys.stdout.flush()


async def run_gateway(url: str, work: Work) -> dict[str, Any]:
    """Return what happened to this gateway's share of `work`; times in seconds."""
    places = asyncio.Semaphore(work.at_once)
    accepted: list[float] = []
    delays: list[float] = []
    errors: list[str] = []

    async def one_turn(bus: Bus) -> None:
        async with places:
            began = time.perf_counter()
            try:
                async with bus.call(TURN, asdict(work)) as call:
                    await call.accepted()
                    accepted.append(time.perf_counter() - began)
                    async for reply in call:
                        delay = time.time_ns() - int(reply[:STAMP_BYTES])
                        delays.append(delay / 1e9)
            except CCProxyError as error:
                errors.append(error.message)

    async with Bus(url, service="gateway", instance=f"g{time.time_ns()}") as bus:
        began = time.perf_counter()
        await asyncio.gather(*(one_turn(bus) for _ in range(work.turns)))
        seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "turns": len(accepted),
        "replies": len(delays),
        "accepted": sample(accepted),
        "delays": sample(delays),
        "errors": errors[:SAMPLE],
        "cpu": time.process_time(),
    }


def sample(values: list[float]) -> list[float]:
    """Return at most SAMPLE of `values`, evenly spread over their order by size."""
    ordered = sorted(values)
    step = max(1, len(ordered) // SAMPLE)
    return [round(value, 5) for value in ordered[::step]]


@contextlib.contextmanager
def running_redis() -> Iterator[tuple[str, psutil.Process]]:
    """Yield the address and the process of an empty Redis as the product starts it."""
    with tempfile.TemporaryDirectory(prefix="ccscale") as made:
        text, socket = render_config(Path(made), Path(made) / "redis")
        (Path(made) / "redis.conf").write_text(text)
        command = [str(find_server(RedisSettings())), str(Path(made) / "redis.conf")]
        with sdk.ended(subprocess.Popen(command, stdout=subprocess.DEVNULL)) as redis:
            while not socket.exists():
                time.sleep(0.02)
            yield socket_url(socket), psutil.Process(redis.pid)


@contextlib.contextmanager
def running_workers(url: str) -> Iterator[list[psutil.Process]]:
    """Yield the processes of all workers, once they serve."""
    share = str(WORKERS // WORKER_PROCESSES)
    with contextlib.ExitStack() as opened:
        started = [
            opened.enter_context(
                sdk.ended(subprocess.Popen(part("workers", url, f"w{number}", share), **PIPED))
            )
            for number in range(WORKER_PROCESSES)
        ]
        for each in started:
            assert each.stdout is not None
            each.stdout.readline()
        yield [psutil.Process(each.pid) for each in started]


PIPED: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True}


def part(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.scale", *arguments]


def cpu_of(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


HEAD = [
    "load",
    "turns",
    "errors",
    "turns/s",
    "replies/s",
    "MB/s",
    "accepted p50 / p99, ms",
    "reply p50 / p99, ms",
    "CPU-s: Redis / gateways / workers",
    "replies per CPU-s of Redis / a gateway",
    "Redis, MB",
]


def measure_bus() -> list[list[str]]:
    """Return a row for each of WORKS."""
    rows = []
    with running_redis() as (url, redis), running_workers(url) as workers:
        for work in WORKS:
            before = cpu_of([redis]), cpu_of(workers)
            command = part("gateway", url, json.dumps(asdict(work)))
            gateways = [subprocess.Popen(command, **PIPED) for _ in range(GATEWAYS)]
            found = [json.loads(gateway.communicate()[0]) for gateway in gateways]
            spent = cpu_of([redis]) - before[0], cpu_of(workers) - before[1]
            rows.append(row(work, found, *spent, redis.memory_info().rss / 2**20))
            for words in sorted({error for each in found for error in each["errors"]}):
                print(f"{work.name}: {words}", file=sys.stderr)
    return rows


def row(
    work: Work, found: list[dict[str, Any]], redis_cpu: float, worker_cpu: float, memory: float
) -> list[str]:
    """Return the row of the table for one load."""
    accepted = [value * 1000 for each in found for value in each["accepted"]]
    delays = [value * 1000 for each in found for value in each["delays"]]
    seconds = max(each["seconds"] for each in found)
    cpu = sum(each["cpu"] for each in found)
    turns = sum(each["turns"] for each in found)
    replies = sum(each["replies"] for each in found)
    return [
        work.name,
        f"{turns:,}",
        str(sum(len(each["errors"]) for each in found)),
        f"{turns / seconds:,.0f}",
        f"{replies / seconds:,.0f}",
        f"{replies * work.size / seconds / 1e6:.1f}",
        f"{percentile(accepted, 50):.0f} / {percentile(accepted, 99):.0f}",
        f"{percentile(delays, 50):.1f} / {percentile(delays, 99):.0f}",
        f"{redis_cpu:.1f} / {cpu:.1f} / {worker_cpu:.1f}",
        f"{replies / max(redis_cpu, 0.01):,.0f} / {replies / max(cpu, 0.01):,.0f}",
        f"{memory:.0f}",
    ]


def percentile(values: list[float], part_of_100: int) -> float:
    if len(values) < 2:
        return 0.0
    return statistics.quantiles(values, n=100)[part_of_100 - 1]


@contextlib.contextmanager
def running_simulator() -> Iterator[str]:
    """Yield the address of a simulator."""
    command = [str(sdk.BIN / "ccproxy-simulator"), "--port", "0"]
    with sdk.ended(subprocess.Popen(command, **PIPED)) as simulator:
        assert simulator.stdout is not None
        yield json.loads(simulator.stdout.readline())["url"]


async def measure_claude(url: str, home: Path) -> list[list[str]]:
    """Return what a connected `claude` takes, and what its turns take."""
    client = ClaudeSDKClient(sdk.options(url, home))
    others = set(psutil.Process().children(recursive=True))
    await client.connect()
    await asyncio.sleep(sdk.LULL_SECONDS)
    processes = [each for each in psutil.Process().children(recursive=True) if each not in others]
    started = cpu_of(processes)
    memory = pss_of(processes)
    turns = []
    for _ in range(5):
        before = cpu_of(processes)
        await client.query(sdk.PROMPT)
        async for _ in client.receive_response():
            pass
        turns.append(cpu_of(processes) - before)
    after = pss_of(processes)
    await client.disconnect()
    return [
        ["CPU of its start, s", f"{started:.1f}"],
        ["CPU of its first short turn, s", f"{turns[0]:.2f}"],
        ["CPU of a later one, s", f"{turns[-1]:.2f}"],
        ["memory (PSS) at rest, MB", f"{memory:.0f}"],
        ["after five turns, MB", f"{after:.0f}"],
    ]


def pss_of(processes: list[psutil.Process]) -> float:
    return float(sum(process.memory_full_info().pss for process in processes) / 2**20)


def run() -> Section:
    bus = measure_bus()
    with running_simulator() as url, tempfile.TemporaryDirectory(prefix="ccscale") as home:
        claude = asyncio.run(measure_claude(url, Path(home)))
    return Section(
        "scale",
        "The bus, and a `claude`",
        'make bench BENCH_ARGS="--only scale"',
        TEXT,
        [("", Table(HEAD, bus)), ("", Table(["a `claude`", ""], claude))],
        [],
        {"claude-agent-sdk": importlib.metadata.version("claude-agent-sdk")},
    )


TEXT = f"""{WORKERS} simulated workers in {WORKER_PROCESSES} processes answer {GATEWAYS} simulated
gateways over a real Redis; a turn is one call with so many replies. [Scaling](scaling.md) says
what follows from it."""


def main(role: str, url: str, *arguments: str) -> None:
    if role == "workers":
        name, count = arguments
        uvloop.run(run_workers(url, name, int(count)))
    else:
        [work] = arguments
        found = uvloop.run(run_gateway(url, Work(**json.loads(work))))
        sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
