"""What people want to know is answered once; what they watch goes on through the desks that come
and go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.routes.permission_client import PermissionClient
from shared.bus.channels import encode_payload
from shared.runtime.errors import NoWorker, WorkerLost
from tests.support.scripted_bus import ScriptedBus, Step

Make = Callable[..., tuple[PermissionClient, ScriptedBus]]


def make(*scripts: list[Step]) -> tuple[PermissionClient, ScriptedBus]:
    bus = ScriptedBus(*scripts)
    return PermissionClient(bus), bus  # type: ignore[arg-type]


async def test_a_question_without_an_answer_raises() -> None:
    desk, _ = make([])
    with pytest.raises(NoWorker):
        await desk.question("list", "bob", {})


def event(number: int) -> bytes:
    return encode_payload({"number": number, "name": "permission_request", "data": {}})


async def seen(desk: PermissionClient, after: int | None, count: int) -> list[int]:
    watch, numbers = desk.watch(after), []
    async with asyncio.timeout(5):
        async for each in watch:
            if "number" in each:
                numbers.append(each["number"])
            if len(numbers) == count:
                break
    await watch.aclose()
    return numbers


async def test_a_watch_goes_on_where_it_was_cut() -> None:
    desk, bus = make(
        [event(1), encode_payload({"synced": 5}), event(6), WorkerLost()],
        [encode_payload({"synced": 6}), event(7)],
    )
    assert await seen(desk, None, 3) == [1, 6, 7]
    assert [question.parameters["after"] for question in bus.asked] == [None, 6]


async def test_a_watch_cut_before_the_present_repeats_nothing() -> None:
    desk, _ = make(
        [event(1), event(2), NoWorker()],
        [event(1), event(2), event(3), encode_payload({"synced": 9}), event(10)],
    )
    assert await seen(desk, None, 4) == [1, 2, 3, 10]
