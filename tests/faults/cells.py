"""What happens to a stack in `make faults`: each fault by name, and what its clients may see of it.

A fault is an async function of the stack. It returns when it is over; the time until the stack is
whole again counts from then on.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis

from tests.faults.load import Load, asked, recorded, running, until_whole
from tests.support.stack import Stack, until

Fault = Callable[[Stack], Awaitable[None]]

ASKED_BEFORE = 30  # good answers before a fault, and after it
FLUSHES = 5
FLUSH_PAUSE_SECONDS = (
    2.3  # no multiple of a heartbeat, so that each loss meets another moment of it
)


@dataclass(frozen=True)
class Cell:
    """One fault. `allowed` are the outcomes that clients may see beside good answers; `may_lose` is
    how many of the records of answered requests may be missing afterwards.
    """

    name: str
    fault: Fault
    allowed: frozenset[str] = frozenset()
    may_lose: int = 0
    times: int = 1  # that the fault happens

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


@dataclass
class Row:
    """A line of the table in docs/reliability.md."""

    name: str
    times: int
    clients: str
    lost: str
    whole: str

    def cells(self) -> list[str]:
        often = "once" if self.times == 1 else f"{self.times} times"
        return [self.name, often, self.clients, self.lost, self.whole]


@dataclass
class Table:
    """The lines of this run, in the order of their cells."""

    rows: list[Row] = field(default_factory=list)

    def add(
        self,
        name: str,
        clients: str,
        lost: str = "nothing",
        whole: str = "at once",
        *,
        times: int = 1,
    ) -> None:
        """Add a line about a fault that happened so many `times`."""
        self.rows.append(Row(name, times, clients, lost, whole))


async def try_cell(cell: Cell, stack: Stack, table: Table) -> None:
    """Let the fault happen under load, check what the clients saw, and note it."""
    load = Load(stack.url, agent=True)
    async with running(load) as seen:
        await asked(seen, ASKED_BEFORE)
        await cell.fault(stack)
        whole = await until_whole(stack.url, agent=True)
        await asked(seen, ASKED_BEFORE)
    missing, doubled = await recorded(stack.url, seen, deadline=5 if cell.may_lose else 60)
    assert seen.counts.keys() <= {"ok", *cell.allowed}, (seen.sentence(), seen.by_path, seen.words)
    assert doubled == 0, f"{doubled} requests have more than one record"
    assert missing <= cell.may_lose, (
        f"{missing} of {len(seen.answered)} answered requests have no record"
    )
    lost = f"{missing} of {len(seen.answered)} records" if missing else "nothing"
    table.add(cell.name, seen.sentence(), lost, f"{whole:.1f} s", times=cell.times)


def kill(service: str) -> Fault:
    """Return the fault in which one process of `service` is killed outright."""

    async def fault(stack: Stack) -> None:
        old = stack.kill(service)
        await asyncio.to_thread(stack.wait_replaced, service, old)

    return fault


async def kill_both_gateways(stack: Stack) -> None:
    old = stack.supervised("gateway")
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(
        until, lambda: len(set(stack.supervised("gateway")) - set(old)) == 2, "two new gateways"
    )


async def restart_gateways_in_turn(stack: Stack) -> None:
    for old in stack.supervised("gateway"):
        os.kill(old, signal.SIGTERM)
        await asyncio.to_thread(
            until, lambda old=old: old not in stack.supervised("gateway"), "the end of one gateway"
        )
        await asyncio.to_thread(
            until, lambda: len(stack.supervised("gateway")) == 2, "another gateway"
        )
        await asyncio.sleep(1)  # it is accepting by then


def stop_for(service: str, seconds: float) -> Fault:
    """Return the fault in which one process of `service` does not run for `seconds`."""

    async def fault(stack: Stack) -> None:
        await pause(stack.pid_of(service), seconds)

    return fault


async def pause(pid: int, seconds: float) -> None:
    """Stop a process for `seconds`."""
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


async def stop_supervisord(stack: Stack) -> None:
    [pid] = [
        found.pid
        for found in stack.processes()
        if "ccproxy.launcher.supervision" in found.cmdline()
    ]
    await pause(pid, 5)


async def kill_listener(stack: Stack) -> None:
    await kill("listener")(stack)


async def kill_agent(stack: Stack) -> None:
    """Kill the `claude` that works, or the spare if none does at this moment."""
    worker = psutil.Process(stack.pid_of("sdk_worker"))
    children = await asyncio.to_thread(worker.children)
    children[-1].kill()


async def flush_redis(stack: Stack) -> None:
    """Remove the data several times, because what happens depends on which process notices first."""
    with redis.Redis(unix_socket_path=str(stack.run_dir / "redis.sock")) as client:
        for _ in range(FLUSHES):
            client.flushall()
            await asyncio.sleep(FLUSH_PAUSE_SECONDS)


async def break_file_and_kill_gateway(stack: Stack) -> None:
    file = stack.home / ".ccproxy.toml"
    file.write_text("[server\n")
    await kill("gateway")(stack)
    await until_whole(stack.url)
    file.unlink()


async def stop_provider(stack: Stack) -> None:
    """Stop the simulator for three seconds, shorter than any limit."""
    port = int(stack.simulator_url.rpartition(":")[2])
    [pid] = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr.port == port
        and connection.pid
    }
    await pause(pid, 3)


def database(stack: Stack) -> Path:
    """Return the DuckDB file of the stack."""
    return stack.home / ".local/share/ccproxy/metrics.duckdb"


CELLS = [
    Cell("a gateway is restarted (SIGTERM), each in turn", restart_gateways_in_turn, times=2),
    Cell("one of two gateways is killed", kill("gateway"), frozenset({"cut"}), may_lose=20),
    Cell("both gateways are killed at once", kill_both_gateways, frozenset({"cut"}), may_lose=40),
    Cell("a gateway stands still for 5 s", stop_for("gateway", 5), frozenset()),
    Cell("the SDK worker is killed", kill("sdk_worker"), frozenset({"typed"})),
    Cell("a `claude` is killed", kill_agent, frozenset({"typed"})),
    Cell("the permission service is killed", kill("permission_service"), frozenset({"typed"})),
    Cell("the permission service stands still for 5 s", stop_for("permission_service", 5)),
    Cell("analytics is killed", kill("analytics")),
    Cell("Redis is killed", kill("redis"), frozenset({"typed"})),
    Cell("Redis stands still for 8 s", stop_for("redis", 8), frozenset({"typed"})),
    Cell(
        "Redis loses everything (FLUSHALL)",
        flush_redis,
        frozenset({"typed"}),
        may_lose=200,
        times=FLUSHES,
    ),
    Cell("the listener is killed", kill_listener),
    Cell("supervisord stands still for 5 s", stop_supervisord),
    Cell(
        "a gateway is killed beside a broken configuration file",
        break_file_and_kill_gateway,
        frozenset({"cut"}),
        20,
    ),
    Cell("the provider stands still for 3 s", stop_provider),
]
