"""An ask outlasts the desks that come and go; what cannot be asked raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.desk import DeskClient
from shared.channels import PermissionAsk, PermissionDecision, encode
from shared.errors import BusUnavailable, CCProxyError, ClientError, NoWorker, WorkerLost

Step = bytes | CCProxyError


class Replies:
    def __init__(self, steps: list[Step]) -> None:
        self.steps, self.worker = steps, "desk-1"

    async def __aenter__(self) -> Replies:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self.steps:
            if isinstance(step, bytes):
                yield step
            else:
                raise step


class ScriptedBus:
    """Each call gets the next script; keeps what was asked."""

    def __init__(self, *scripts: list[Step]) -> None:
        self.scripts, self.asked = list(scripts), []  # type: ignore[var-annotated]

    def call(self, _channel: Any, payload: Any) -> Replies:
        self.asked.append(payload)
        return Replies(self.scripts.pop(0))


Make = Callable[..., tuple[DeskClient, ScriptedBus]]


def make(*scripts: list[Step]) -> tuple[DeskClient, ScriptedBus]:
    bus = ScriptedBus(*scripts)
    return DeskClient(bus), bus  # type: ignore[arg-type]


ASK = PermissionAsk("a", "Bash", {})


async def test_an_ask_is_placed_again_under_its_name_when_the_desk_is_replaced() -> None:
    decision = PermissionDecision("a", "allowed")
    desk, bus = make([WorkerLost()], [NoWorker()], [encode(decision)])
    assert await desk.ask(ASK) == decision
    assert [ask.request_id for ask in bus.asked] == ["a", "a", "a"]


@pytest.mark.parametrize("script", [[BusUnavailable()], [ClientError("bad")], []])
async def test_what_cannot_be_asked_raises_at_once(script: list[Step]) -> None:
    desk, bus = make(script)
    with pytest.raises(CCProxyError):
        await desk.ask(ASK)
    assert len(bus.asked) == 1


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
