"""What people want to know is answered once; what they watch goes on through the desks that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.desk import DeskClient
from shared.channels import encode
from shared.errors import NoWorker, WorkerLost
from tests.scripted_bus import ScriptedBus, Step

Make = Callable[..., tuple[DeskClient, ScriptedBus]]


def make(*scripts: list[Step]) -> tuple[DeskClient, ScriptedBus]:
    bus = ScriptedBus(*scripts)
    return DeskClient(bus), bus  # type: ignore[arg-type]


async def test_a_question_without_an_answer_raises() -> None:
    desk, _ = make([])
    with pytest.raises(NoWorker):
        await desk.question("list", "bob", {})


def event(number: int) -> bytes:
    return encode({"number": number, "name": "permission_request", "data": {}})


async def seen(desk: DeskClient, after: int | None, count: int) -> list[int]:
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
    desk, bus = make([event(1), encode({"synced": 5}), event(6), WorkerLost()], [encode({"synced": 6}), event(7)])
    assert await seen(desk, None, 3) == [1, 6, 7]
    assert [question.parameters["after"] for question in bus.asked] == [None, 6]


async def test_a_watch_cut_before_the_present_repeats_nothing() -> None:
    desk, _ = make([event(1), event(2), NoWorker()], [event(1), event(2), event(3), encode({"synced": 9}), event(10)])
    assert await seen(desk, None, 4) == [1, 2, 3, 10]
