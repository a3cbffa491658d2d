"""What clients can do to a stack: large bodies, requests that are refused or left, idle
connections, a flood.

The memory of the gateways is measured before and after. A request that stays in memory costs its
whole body, so the bounds are far below the sum of the bodies, and above what allocators keep.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest

from ccproxy.launcher.programs import find_script
from tests.faults.cells import ASKED_BEFORE, Table
from tests.faults.load import (
    AGENT,
    MODEL,
    Kind,
    Load,
    Seen,
    ask,
    asked,
    error_of,
    is_ready,
    running,
    until_whole,
)
from tests.faults.memory import MEBIBYTE, gateways_memory
from tests.support.stack import Stack, simulated, simulators, stacks, until

pytestmark = [pytest.mark.faults, pytest.mark.claude, pytest.mark.timeout(300)]

CHAT = "/api/v1/chat/completions"
SETTLE_SECONDS = 90.0  # two collections by the clock, on a machine that is busy
TURNS_AT_ONCE, MAX_WAITING, FLOOD = 2, 6, 30
SILENCE_SECONDS = {"hang": 25, "stall": 8}  # before a turn's first frame, and within the turn
BODIES_MEBIBYTES = 64
IDLE_CONNECTIONS = 400


@pytest.fixture(scope="module")
def stack(_homes: Callable[[], Path]) -> Iterator[Stack]:
    """Two gateways and one SDK worker with small limits, before a simulator of their own."""
    limits = {
        "SERVER__WORKERS": "2",
        "SERVER__MAX_BODIES_BYTES": str(BODIES_MEBIBYTES * MEBIBYTE),
        "SDK__MAX_TURNS_AT_ONCE": str(TURNS_AT_ONCE),
        "SDK__MAX_WAITING": str(MAX_WAITING),
        "SDK__FIRST_BYTE_TIMEOUT_SECONDS": str(SILENCE_SECONDS["hang"]),
        "SDK__IDLE_TIMEOUT_SECONDS": str(SILENCE_SECONDS["stall"]),
        "SECURITY__CONFIRMATION_TIMEOUT_SECONDS": "0",
    }
    for start_simulator in simulators(_homes):
        for start in stacks(find_script("ccproxy"), _homes, simulated(start_simulator()) | limits):
            yield start().wait_ready()


@asynccontextmanager
async def others(stack: Stack) -> AsyncIterator[Seen]:
    """Let other clients ask `/api` and `/codex` inside; each of them must be answered."""
    async with running(Load(stack.url, clients=5)) as seen:
        await asked(seen, ASKED_BEFORE)
        yield seen
        await asked(seen, ASKED_BEFORE)
    assert seen.counts.keys() == {"ok"}, (seen.sentence(), seen.words)


def body_of(mebibytes: float, scenario: str = "", *, stream: bool = False) -> bytes:
    """Return a request whose text is as long as that, and ends with a directive for the
    simulator.
    """
    text = "a " * int(mebibytes * MEBIBYTE / 2) + (f"[[scenario:{scenario}]]" if scenario else "")
    return orjson.dumps(
        {
            "model": MODEL,
            "max_tokens": 64,
            "stream": stream,
            "messages": [{"role": "user", "content": text}],
        }
    )


async def post(http: aiohttp.ClientSession, url: str, body: bytes) -> tuple[int, bytes]:
    """Return the status and the body of a reply."""
    async with http.post(
        url, data=io.BytesIO(body), headers={"content-type": "application/json"}
    ) as reply:
        return reply.status, await reply.read()


async def leave(http: aiohttp.ClientSession, url: str, body: bytes) -> tuple[int, bytes]:
    """Leave a stream after its first bytes."""
    async with http.post(
        url, data=io.BytesIO(body), headers={"content-type": "application/json"}
    ) as reply:
        await reply.content.readany()
        return reply.status, b""


@asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(120)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(trust_env=False, timeout=timeout, connector=connector) as http:
        yield http


@pytest.mark.parametrize(
    ("name", "act", "scenario", "status"),
    [
        ("80 requests of 1 MB are refused by the provider (429)", post, "429-30", 429),
        ("80 requests of 1 MB are left by their clients", leave, "slow-50x40", 200),
    ],
)
async def test_the_gateways_keep_no_request_that_was_refused_or_left(
    stack: Stack, table: Table, name: str, act: Callable[..., object], scenario: str, status: int
) -> None:
    body = body_of(1, scenario, stream=act is leave)
    async with client() as http:
        first = [await act(http, stack.url + CHAT, body) for _ in range(10)]  # type: ignore[misc]
        before = await asyncio.to_thread(gateways_memory, stack)
        found = []
        for _ in range(16):
            found += await asyncio.gather(*(act(http, stack.url + CHAT, body) for _ in range(5)))  # type: ignore[call-overload]
    assert {each[0] for each in [*first, *found]} == {status}
    await asyncio.to_thread(
        until,
        lambda: gateways_memory(stack) < before + 20 * MEBIBYTE,
        "memory as before",
        SETTLE_SECONDS,
    )
    grown = (await asyncio.to_thread(gateways_memory, stack) - before) / MEBIBYTE
    clients = "all told so, in the provider's words" if act is post else "they had left"
    table.add(name, clients, whole=f"gateways {max(0.0, grown):.0f} MB larger")


async def test_large_bodies_are_bounded_together_and_leave_no_memory_behind(
    stack: Stack, table: Table
) -> None:
    body = body_of(16)
    before = await asyncio.to_thread(gateways_memory, stack)
    async with client() as http, others(stack):
        found = await asyncio.gather(
            *(post(http, f"{stack.url}/api/v1/messages", body) for _ in range(12))
        )
        too_large, words = await post(http, f"{stack.url}{AGENT.path}", body)
        assert (too_large, bool(error_of(words))) == (413, True)
    statuses = Counter(status for status, _ in found)
    assert statuses.keys() <= {400, 429}, (
        statuses,
        found[0][1][:200],
    )  # 400: more than the model can read
    assert all(error_of(words) for _, words in found)
    await asyncio.to_thread(
        until,
        lambda: gateways_memory(stack) < before + 60 * MEBIBYTE,
        "memory as before",
        SETTLE_SECONDS,
    )
    table.add(
        f"12 bodies of 16 MB at once, with `SERVER__MAX_BODIES_BYTES` of {BODIES_MEBIBYTES} MB",
        f"{statuses[400]} refused by the provider, {statuses[429]} by the gateway, all typed; "
        "others all answered",
    )


async def test_idle_connections_hinder_nobody_and_cost_little(stack: Stack, table: Table) -> None:
    """Half of them have sent half of a request's head."""
    address = urlsplit(stack.url)
    before = await asyncio.to_thread(gateways_memory, stack)
    with contextlib.ExitStack() as idle:
        for number in range(IDLE_CONNECTIONS):
            connection = idle.enter_context(
                socket.create_connection((address.hostname, address.port), timeout=20)
            )
            if number % 2:
                connection.sendall(b"POST /api/v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\nx-half: ")
        async with others(stack):
            grown = (await asyncio.to_thread(gateways_memory, stack) - before) / MEBIBYTE
    assert grown < 20, f"{IDLE_CONNECTIONS} idle connections cost {grown:.1f} MB"
    await until_whole(stack.url)
    table.add(f"{IDLE_CONNECTIONS} connections send nothing, or half a head", "all others answered")


async def test_a_flood_of_turns_is_refused_beyond_the_queue_and_hinders_no_other_route(
    stack: Stack, table: Table
) -> None:
    await until_whole(stack.url, agent=True)
    flood = Seen()
    async with client() as http, others(stack):
        await asyncio.gather(*(ask(http, stack.url, AGENT, flood) for _ in range(FLOOD)))
    assert flood.counts.keys() == {"ok", "typed"}, (flood.sentence(), flood.words)
    assert all("rate_limit" in words or "overloaded" in words for words in flood.words), flood.words
    await until_whole(stack.url, agent=True)
    table.add(
        f"{FLOOD} turns at once before {TURNS_AT_ONCE} places and a queue of {MAX_WAITING}",
        f"{flood.sentence()}; other routes all answered",
    )


@pytest.mark.parametrize("scenario", SILENCE_SECONDS)
async def test_a_turn_with_a_silent_provider_ends_after_its_limit(
    stack: Stack, table: Table, scenario: str
) -> None:
    """No person is waited for, so the time for a person (without end here) does not count."""
    silent, clock = Seen(), asyncio.get_running_loop()
    async with client() as http:
        began = clock.time()
        outcome = await ask(
            http, stack.url, Kind(AGENT.path, stream=True), silent, f"[[scenario:{scenario}]]"
        )
        took = clock.time() - began
        assert outcome == "typed", (silent.sentence(), silent.words)
        assert took > SILENCE_SECONDS[scenario] - 1
        assert await is_ready(http, stack.url)
    setting = "FIRST_BYTE" if scenario == "hang" else "IDLE"
    where = "before its headers" if scenario == "hang" else "in mid-stream"
    name = (
        f"a turn's provider falls silent {where} (`SDK__{setting}_TIMEOUT_SECONDS` "
        f"{SILENCE_SECONDS[scenario]})"
    )
    table.add(name, f"1 typed after {took:.0f} s")
