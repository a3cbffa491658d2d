"""The owner's presence: hooks wait while the owner is away, and only then; no agent without a
terminal of its own is concerned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from permission_service.presence import AWAY_KEY
from shared.runtime.errors import BusUnavailable
from tests.unit.permission_service.conftest import Asked, Clock, MemoryBus, Room


def hook(room: Room, request_id: str, **fields: Any) -> Asked:
    return room.ask(request_id, asks_itself=True, insists=True, **fields)


async def test_at_the_desk_a_hook_is_undecided_and_in_the_records(
    room: Room, bus: MemoryBus
) -> None:
    (decision,) = await hook(room, "a", program="Codex", machine="laptop").until(1)
    assert (decision["outcome"], decision["decided_by"]) == ("undecided", "at_desk")
    (record,) = bus.published
    assert (record.outcome, record.program, record.machine) == ("undecided", "Codex", "laptop")
    assert room.desk.pending() == []


async def test_other_agents_wait_at_the_desk_too(room: Room) -> None:
    room.ask("a")
    await room.pending("a")


async def test_away_outlives_a_restart(make_room: Callable[..., Room], bus: MemoryBus) -> None:
    clock = Clock()
    await make_room(clock).question("set_away", state="on")
    again = make_room(clock)
    await again.server.load()
    assert (await again.question("presence"))["away"] is True
    hook(again, "a")
    await again.pending("a")


async def test_a_state_that_redis_refused_does_not_hold(room: Room, bus: MemoryBus) -> None:
    bus.down = True
    with pytest.raises(BusUnavailable):
        await room.question("set_away", state="on")
    bus.down = False
    assert (await room.question("presence"))["away"] is False
    assert AWAY_KEY not in bus.keys


async def test_the_return_hands_back_hooks_and_leaves_other_requests(room: Room) -> None:
    await room.question("set_away", state="on")
    asked = hook(room, "a")
    room.ask("b")
    await room.pending("a", "b")
    room.start(room.server.hand_back_on_return())
    await room.question("set_away", state="off")
    (decision,) = await asked.until(1)
    assert (decision["outcome"], "back" in decision["message"]) == ("undecided", True)
    await room.pending("b")


async def test_the_end_of_a_time_away_hands_back_and_is_announced(
    make_room: Callable[..., Room],
) -> None:
    clock = Clock()
    room = make_room(clock)
    await room.question("set_away", state="for", seconds=0.05)
    asked = hook(room, "a")
    await room.pending("a")
    watcher = room.watch()
    await watcher.until(2)
    room.start(room.server.hand_back_on_return())
    await asyncio.sleep(0)
    clock.now += 1
    (decision,) = await asked.until(1)
    assert decision["outcome"] == "undecided"
    names = [event.get("name") for event in await watcher.until(4)]
    assert names == ["permission_request", None, "presence", "permission_cancelled"]


async def test_an_answer_given_before_the_return_stays(room: Room) -> None:
    await room.question("set_away", state="on")
    asked = hook(room, "a")
    await room.pending("a")
    await room.decide("a")
    room.start(room.server.hand_back_on_return())
    await room.question("set_away", state="off")
    (decision,) = await asked.until(1)
    assert decision["outcome"] == "allowed"


async def test_a_hook_waits_at_the_desk_while_somebody_watches_if_the_owner_wants_it(
    make_room: Callable[..., Room],
) -> None:
    room = make_room(hooks_ask="watched")
    await hook(room, "a").until(1)
    watcher = room.watch()
    await watcher.until(1)
    hook(room, "b")
    await room.pending("b")


async def test_without_a_watcher_a_hook_is_handed_back_where_others_are_denied(
    make_room: Callable[..., Room],
) -> None:
    room = make_room(deny_without_watcher=True)
    await room.question("set_away", state="on")
    (decision,) = await hook(room, "a").until(1)
    assert decision["outcome"] == "undecided"
    (denied,) = await room.ask("b").until(1)
    assert denied["outcome"] == "denied"


async def test_a_hook_beyond_a_limit_is_undecided_and_never_open(room: Room) -> None:
    await room.question("set_away", state="on")
    asked = [hook(room, f"r{number}") for number in range(17)]
    (decision,) = await asked[16].until(1)
    assert (decision["outcome"], decision["decided_by"]) == ("undecided", "limit")
    (large,) = await hook(room, "large", command="x" * 300_000).until(1)
    assert large["outcome"] == "undecided"


async def test_the_sentence_of_an_expired_hook_names_the_agents_terminal(
    make_room: Callable[..., Room],
) -> None:
    room = make_room()
    await room.question("set_away", state="on")
    (decision,) = await hook(room, "a", timeout_seconds=0.01, asked_at=room.clock() - 1).until(1)
    assert (decision["outcome"], "own terminal" in decision["message"]) == ("expired", True)
