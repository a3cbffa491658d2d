"""The permission program on a real bus: it is there, it fails closed, it stops when told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.bus import Bus, Timings
from shared.channels import PERMISSION_ASK, PERMISSION_DESK, Channel, DeskQuestion, PermissionAsk
from shared.errors import ClientError

PROGRAM = Path(sys.executable).with_name("ccproxy-permission-service")


async def start(directory: Path, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        PROGRAM, env=os.environ | environment, cwd=directory, stderr=asyncio.subprocess.PIPE
    )


@pytest.fixture
async def desk(redis_url: str, tmp_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await start(tmp_path, REDIS__URL=redis_url, CCPROXY_INSTANCE="desk-1")
    yield process
    if process.returncode is None:
        process.kill()
    await process.communicate()


@pytest.fixture
async def bus(bus_factory: Callable[..., Awaitable[Bus]]) -> Bus:
    return await bus_factory("gateway", timings=Timings())


async def ask(bus: Bus, channel: Channel, payload: Any) -> Any:
    async with bus.call(channel, payload) as replies:
        (reply,) = [orjson.loads(reply) async for reply in replies]
    return reply


@pytest.mark.usefixtures("desk")
async def test_a_tool_that_asks_is_denied_with_a_sentence(bus: Bus) -> None:
    decision = await ask(bus, PERMISSION_ASK, PermissionAsk("a", "Bash", {"command": "rm -rf /"}))
    assert decision["outcome"] == "denied"
    assert decision["message"].startswith("Nobody is there")
    assert await ask(bus, PERMISSION_DESK, DeskQuestion("pending")) == []


@pytest.mark.usefixtures("desk")
async def test_an_unknown_verb_is_refused(bus: Bus) -> None:
    with pytest.raises(ClientError, match="'nonsense'"):
        await ask(bus, PERMISSION_DESK, DeskQuestion("nonsense"))


async def test_an_ask_waits_for_the_desk_to_be_there(bus: Bus, redis_url: str, tmp_path: Path) -> None:
    async with bus.call(PERMISSION_ASK, PermissionAsk("a", "Bash", {})) as replies:
        process = await start(tmp_path, REDIS__URL=redis_url, CCPROXY_INSTANCE="desk-1")
        (reply,) = [orjson.loads(reply) async for reply in replies]
    assert reply["outcome"] == "denied"
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0


async def test_without_an_address_for_redis_it_ends_with_a_sentence(tmp_path: Path) -> None:
    process = await start(tmp_path, REDIS__URL="")
    _, stderr = await process.communicate()
    assert process.returncode == 78
    assert b"permission_service: REDIS__URL is not set" in stderr
    assert b"Traceback" not in stderr
