"""The permission program on a real bus: it waits for people, and it can die at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from shared.bus import Bus, Timings
from shared.bus.channels import (
    PERMISSION_QUERIES,
    PERMISSION_REQUESTS,
    PermissionQuery,
    PermissionRequest,
)
from shared.runtime.errors import BusUnavailable, Conflict
from tests.conftest import RedisServer
from tests.support.permission_stack import running_front

PROGRAM = Path(sys.executable).with_name("ccproxy-permission-service")

Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    started: list[asyncio.subprocess.Process] = []
    log = (tmp_path / "stderr").open("wb")  # a pipe that nobody reads would stop the process

    async def start_one(redis_url: str, **environment: str) -> asyncio.subprocess.Process:
        env = os.environ | {
            "CCPROXY_INSTANCE": "desk-1",
            "XDG_CONFIG_HOME": str(tmp_path),
            "REDIS__URL": redis_url,
        }
        started.append(
            await asyncio.create_subprocess_exec(
                PROGRAM,
                env=env | environment,
                cwd=tmp_path,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )
        )
        return started[-1]

    yield start_one
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    log.close()


@pytest.fixture
async def bus(bus_factory: Callable[..., Awaitable[Bus]]) -> Bus:
    return await bus_factory("gateway", timings=Timings(no_worker=20))


async def question(bus: Bus, verb: str, **parameters: Any) -> Any:
    async with bus.call(PERMISSION_QUERIES, PermissionQuery(verb, parameters, "bob")) as replies:
        (reply,) = [orjson.loads(reply) async for reply in replies]
    return reply


async def answered(bus: Bus, request_id: str, **answer: Any) -> Any:
    """Decide, as often as Redis is not there yet."""
    while True:
        try:
            return await question(bus, "decide", request_id=request_id, **answer)
        except BusUnavailable:
            await asyncio.sleep(0.1)


async def until_pending(bus: Bus, *ids: str) -> None:
    async with bus.call(PERMISSION_QUERIES, PermissionQuery("watch", {"after": 0})) as replies:
        missing = set(ids)
        async for reply in replies:
            missing.discard(orjson.loads(reply).get("data", {}).get("request_id"))
            if not missing:
                return


async def ask(bus: Bus, request_id: str, **fields: Any) -> Any:
    async with bus.call(
        PERMISSION_REQUESTS, PermissionRequest(request_id, "Bash", {"command": "touch x"}, **fields)
    ) as replies:
        (reply,) = [orjson.loads(reply) async for reply in replies]
    return reply


async def kill(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.communicate()


async def test_a_prompt_outlives_the_desk_and_the_answer_arrives(
    bus: Bus, redis_url: str, start: Start
) -> None:
    first = await start(redis_url)
    asking = asyncio.create_task(ask(bus, "a"))
    await until_pending(bus, "a")
    await kill(first)
    await start(redis_url)
    assert (await question(bus, "decide", request_id="a", allowed=True))["allowed"] is True
    assert (await asking)["outcome"] == "allowed"


@pytest.mark.long
@pytest.mark.parametrize("delay", [0, 0.0005, 0.001, 0.002, 0.004])
async def test_a_desk_that_dies_while_it_is_answered_neither_loses_nor_doubles_the_answer(
    bus: Bus, redis_url: str, start: Start, delay: float
) -> None:
    first = await start(redis_url)
    asking = asyncio.create_task(ask(bus, "a"))
    await until_pending(bus, "a")
    deciding = asyncio.create_task(question(bus, "decide", request_id="a", allowed=True))
    await asyncio.sleep(delay)
    await kill(first)
    await bus.report_exit("permission_service", "desk-1")
    await start(redis_url)
    await asyncio.gather(deciding, return_exceptions=True)
    with contextlib.suppress(Conflict):
        await question(bus, "decide", request_id="a", allowed=False)
    decision = await asking
    assert (decision["outcome"], decision["decided_by"]) in {("allowed", "bob"), ("denied", "bob")}
    assert (await question(bus, "get", request_id="a"))["status"] == decision["outcome"]


async def test_an_asker_that_leaves_takes_its_prompt_along(
    bus: Bus, redis_url: str, start: Start
) -> None:
    await start(redis_url)
    asking = asyncio.create_task(ask(bus, "a"))
    await until_pending(bus, "a")
    asking.cancel()
    async with bus.call(PERMISSION_QUERIES, PermissionQuery("watch", {"after": 0})) as replies:
        async for reply in replies:
            if orjson.loads(reply).get("name") == "permission_cancelled":
                break
    with pytest.raises(Conflict, match="gone"):
        await question(bus, "decide", request_id="a", allowed=True)


async def test_a_prompt_outlives_redis(
    own_redis: RedisServer, bus_factory: Callable[..., Awaitable[Bus]], start: Start
) -> None:
    bus = await bus_factory("gateway", timings=Timings(), url=own_redis.url)
    await start(own_redis.url)
    asking = asyncio.create_task(ask(bus, "a"))
    await until_pending(bus, "a")
    own_redis.kill()
    await asyncio.to_thread(own_redis.start)
    assert (await answered(bus, "a", allowed=False, message="no"))["allowed"] is False
    assert (await asking)["message"] == "no"


async def test_expiry_denies_with_its_message(bus: Bus, redis_url: str, start: Start) -> None:
    await start(redis_url, SECURITY__CONFIRMATION_TIMEOUT_SECONDS="0.1")
    decision = await ask(bus, "a")
    assert (decision["outcome"], decision["message"][:40]) == (
        "expired",
        "Nobody answered within 0.1 seconds, so t",
    )


@pytest.mark.long
async def test_an_ask_waits_for_the_desk_to_be_there_and_the_desk_stops_when_told(
    bus: Bus, redis_url: str, start: Start
) -> None:
    async with bus.call(
        PERMISSION_REQUESTS, PermissionRequest("a", "Bash", {}, timeout_seconds=0.01)
    ) as replies:
        process = await start(redis_url)
        (reply,) = [orjson.loads(reply) async for reply in replies]
    assert reply["outcome"] == "expired"
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0


async def test_without_an_address_for_redis_it_ends_with_a_sentence(
    start: Start, tmp_path: Path
) -> None:
    process = await start("")
    await process.communicate()
    stderr = (tmp_path / "stderr").read_bytes()
    assert process.returncode == 78
    assert b"permission_service: REDIS__URL is not set" in stderr
    assert b"Traceback" not in stderr


def resident_bytes(process: asyncio.subprocess.Process) -> int:
    """Return the resident memory of `process`, from Linux's own count."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def redis_bytes(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.info("memory")["used_memory"])


@pytest.mark.long
@pytest.mark.timeout(120)  # 280 MB of JSON
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
async def test_large_inputs_reach_neither_redis_nor_the_service(
    redis_url: str, start: Start
) -> None:
    process = await start(redis_url)
    large = {"command": "x" * (28 * 1024 * 1024)}
    async with running_front(redis_url) as front:
        await front.check(timeout_seconds=0.01)
        memory, in_redis = resident_bytes(process), redis_bytes(redis_url)
        answers = [await front.check(input=large) for _ in range(10)]
        assert {answer["outcome"] for answer in answers} == {"denied"}
        assert "a person is shown at most 262,144" in answers[0]["message"]
        response = await front.client.post(
            "/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "x", "params": large}
        )
        assert response.status_code == 413
        assert redis_bytes(redis_url) - in_redis < 4_000_000  # nothing of 280 MB arrived
        fitting = {"command": "x" * 250_000}
        asking = [
            asyncio.create_task(front.check(input=fitting, timeout_seconds=20)) for _ in range(40)
        ]
        await front.pending(16)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert resident_bytes(process) - memory < 60_000_000
        # 10 MB were sent: in the channel, in 16 kept requests, and in Redis' buffers of clients and
        # of its file.
        assert redis_bytes(redis_url) - in_redis < 48_000_000


FLOOD = 1200  # more than the 1,000 requests that the service takes at once


@pytest.mark.long
@pytest.mark.timeout(180)  # 1,200 requests, also on a busy machine
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
async def test_a_flood_of_one_caller_does_not_delay_another_caller(
    bus_factory: Callable[..., Awaitable[Bus]], redis_url: str, start: Start
) -> None:
    bus = await bus_factory(
        "gateway", timings=Timings(lease=60)
    )  # a busy machine is no lost service
    process = await start(redis_url)
    first = asyncio.create_task(ask(bus, "first", caller="greedy"))
    await until_pending(bus, "first")
    memory, in_redis = resident_bytes(process), redis_bytes(redis_url)
    flood = [
        asyncio.create_task(ask(bus, f"flood{number}", caller="greedy")) for number in range(FLOOD)
    ]
    owner = asyncio.create_task(ask(bus, "owner", caller="owner"))
    async with asyncio.timeout(30):  # seconds; a tenth of it on an idle machine
        await until_pending(bus, "owner")
    listed = await question(bus, "list")
    assert [each["request_id"] for each in listed["pending"]][:2] == ["first", "owner"]
    assert (await question(bus, "decide", request_id="owner", allowed=True))["allowed"] is True
    assert (await owner)["outcome"] == "allowed"
    refused = await first_done(flood, FLOOD - 15)
    assert {decision["outcome"] for decision in refused} == {"denied"}
    assert all("16 permission requests open already" in decision["message"] for decision in refused)
    pending = (await question(bus, "list"))["pending"]
    assert len(pending) == 16
    assert resident_bytes(process) - memory < 40_000_000
    assert redis_bytes(redis_url) - in_redis < 8_000_000
    for task in (first, *flood):
        task.cancel()
    await asyncio.gather(first, *flood, return_exceptions=True)


async def first_done(tasks: list[asyncio.Task[Any]], count: int) -> list[Any]:
    """Return the results of the `count` tasks that end first."""
    results = []
    for ended in asyncio.as_completed(tasks):
        results.append(await ended)
        if len(results) == count:
            break
    return results


@pytest.mark.long
async def test_more_open_requests_can_be_allowed(bus: Bus, redis_url: str, start: Start) -> None:
    await start(redis_url, SECURITY__MAX_OPEN_REQUESTS="1")
    first = asyncio.create_task(ask(bus, "a", caller="alice"))
    await until_pending(bus, "a")
    assert "1 permission requests open already" in (await ask(bus, "b", caller="alice"))["message"]
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
