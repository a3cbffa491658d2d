"""One caller's requests take turns; other callers do not wait for them."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from permission_service.turns import CallerTurns


async def test_requests_of_one_caller_keep_their_order_and_another_caller_does_not_wait() -> None:
    turns, judged = CallerTurns(), list[str]()

    async def judge(caller: str, name: str) -> None:
        async with turns.turn_of(caller):
            judged.append(name)

    flood = [judge("greedy", f"greedy{number}") for number in range(100)]
    await asyncio.gather(*flood, judge("owner", "owner"))
    assert judged.index("owner") <= 1
    assert [name for name in judged if name != "owner"] == [f"greedy{n}" for n in range(100)]


async def test_the_event_loop_serves_others_between_two_requests_of_a_caller() -> None:
    turns, judged, seen = CallerTurns(), list[int](), list[int]()

    async def judge(number: int) -> None:
        async with turns.turn_of("greedy"):
            judged.append(number)

    flood = asyncio.gather(*(judge(number) for number in range(100)))
    while not flood.done():
        await asyncio.sleep(0)
        seen.append(len(judged))
    assert max(later - earlier for earlier, later in pairwise(seen)) <= 1
    assert len(judged) == 100


@pytest.mark.parametrize("has_its_turn", [True, False])
async def test_a_request_that_is_cancelled_gives_its_turn_to_the_next(has_its_turn: bool) -> None:
    turns, inside = CallerTurns(), asyncio.Event()

    async def stay() -> None:
        async with turns.turn_of("greedy"):
            inside.set()
            await asyncio.Event().wait()

    async def pass_through() -> None:
        async with turns.turn_of("greedy"):
            pass

    first, waiting = asyncio.create_task(stay()), asyncio.create_task(stay())
    last = asyncio.create_task(pass_through())
    await inside.wait()
    for task in (first, waiting) if has_its_turn else (waiting, first):
        task.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(first, waiting, return_exceptions=True)
        await last
    assert len(turns) == 0
