from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.waiting.priorities import Priority
from gateway.waiting.provider_queue import FAIR_EVERY, Place, ProviderQueue
from shared.runtime.errors import Busy
from tests.support.fake_clock import settle

PERSON, ORDINARY, BACKGROUND = Priority


def queue(at_once: int = 1, max_waiting: int = 10, longest: float = 600.0) -> ProviderQueue:
    return ProviderQueue(
        "claude", at_once=at_once, max_waiting=max_waiting, longest_seconds=longest
    )


@dataclass
class Line:
    """Requests of a queue by name, and the order in which they got places."""

    queue: ProviderQueue
    served: list[str] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def come(self, name: str, priority: Priority = ORDINARY) -> None:
        self.tasks[name] = asyncio.create_task(self._take(name, priority))
        await settle()

    async def _take(self, name: str, priority: Priority) -> None:
        self.places[name] = await self.queue.take(priority)
        self.served.append(name)

    async def end(self, name: str) -> None:
        self.places.pop(name).leave()
        await settle()


async def test_a_request_over_the_limit_waits_until_another_one_ends() -> None:
    line = Line(queue(at_once=2))
    for name in ("first", "second", "third"):
        await line.come(name)
    assert line.served == ["first", "second"]
    assert (line.queue.taken, line.queue.waiting) == (2, 1)
    await line.end("second")
    assert line.served == ["first", "second", "third"]
    assert (line.queue.taken, line.queue.waiting) == (2, 0)


async def test_a_person_goes_before_ordinary_requests_and_background_work_goes_last() -> None:
    line = Line(queue())
    await line.come("running")
    await line.come("background", BACKGROUND)
    await line.come("ordinary")
    await line.come("person", PERSON)
    for name in ("running", "person", "ordinary"):
        await line.end(name)
    assert line.served == ["running", "person", "ordinary", "background"]


async def test_requests_of_one_priority_are_served_in_the_order_of_their_arrival() -> None:
    line = Line(queue())
    names = [str(number) for number in range(10)]
    for name in names:
        await line.come(name)
    for name in names[:-1]:
        await line.end(name)
    assert line.served == names


async def test_background_work_is_served_although_persons_keep_coming() -> None:
    line = Line(queue())
    await line.come("running", PERSON)
    await line.come("background", BACKGROUND)
    last = "running"
    for number in range(FAIR_EVERY):
        await line.come(f"person {number}", PERSON)
        await line.end(last)
        last = line.served[-1]
    assert "background" in line.served


async def test_one_more_request_than_the_queue_holds_is_refused_and_may_come_again() -> None:
    line = Line(queue(max_waiting=1))
    await line.come("running")
    await line.come("waiting")
    with pytest.raises(Busy, match="1 requests wait for one of the 1 places") as refused:
        await line.queue.take(ORDINARY)
    assert refused.value.headers["retry-after"] == "5"
    assert line.queue.waiting == 1


async def test_a_person_takes_the_room_of_the_last_background_work_in_a_full_queue() -> None:
    line = Line(queue(max_waiting=2))
    await line.come("running")
    await line.come("background 1", BACKGROUND)
    await line.come("background 2", BACKGROUND)
    await line.come("person", PERSON)
    assert isinstance(line.tasks["background 2"].exception(), Busy)
    await line.end("running")
    assert line.served == ["running", "person"]
    await line.end("person")
    assert line.served == ["running", "person", "background 1"]


async def test_a_request_that_waits_too_long_is_refused_and_leaves_the_queue() -> None:
    line = Line(queue(longest=0))
    await line.come("running")
    with pytest.raises(Busy, match="No place was free for 0 seconds") as refused:
        await line.queue.take(ORDINARY)
    assert refused.value.status == 429
    assert (line.queue.taken, line.queue.waiting) == (1, 0)


async def test_a_client_that_leaves_the_queue_gives_its_turn_to_the_next_one() -> None:
    line = Line(queue())
    for name in ("running", "gone", "next"):
        await line.come(name)
    line.tasks["gone"].cancel()
    await line.end("running")
    assert line.served == ["running", "next"]


async def test_a_place_that_meets_the_end_of_its_request_goes_to_the_next_one() -> None:
    line = Line(queue())
    for name in ("running", "gone", "next"):
        await line.come(name)
    # The place is handed over first, and the request ends before its task has run.
    line.places.pop("running").leave()
    line.tasks["gone"].cancel()
    await settle()
    assert line.served == ["running", "next"]
    assert (line.queue.taken, line.queue.waiting) == (1, 0)


async def test_a_place_is_given_on_once() -> None:
    line = Line(queue(at_once=2))
    await line.come("first")
    await line.come("second")
    place = line.places["first"]
    place.leave()
    place.leave()
    assert line.queue.taken == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.sampled_from(list(Priority))),
        st.tuples(st.just("end"), st.integers(0, 30)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        # The end of a request and the cancellation of another one, before any task runs.
        st.tuples(st.just("race"), st.integers(0, 30)),
    ),
    max_size=60,
)


@given(steps=STEPS, at_once=st.integers(1, 4), max_waiting=st.integers(0, 6))
@settings(max_examples=150, deadline=None)
def test_no_order_of_arrivals_and_ends_breaks_the_limit_or_loses_a_place(
    steps: list[tuple[str, int]], at_once: int, max_waiting: int
) -> None:
    asyncio.run(play(steps, at_once, max_waiting))


async def play(steps: list[tuple[str, int]], at_once: int, max_waiting: int) -> None:
    line = Line(queue(at_once, max_waiting))
    priorities: dict[str, Priority] = {}
    for number, (step, value) in enumerate(steps):
        waiting = [name for name, task in line.tasks.items() if not task.done()]
        if step == "come":
            name = f"{number}"
            priorities[name] = Priority(value)
            await line.come(name, Priority(value))
        elif step == "end" and line.places:
            await line.end(sorted(line.places)[value % len(line.places)])
        elif step == "cancel" and waiting:
            line.tasks[waiting[value % len(waiting)]].cancel()
            await settle()
        elif step == "race" and waiting and line.places:
            line.places.pop(sorted(line.places)[value % len(line.places)]).leave()
            line.tasks[waiting[value % len(waiting)]].cancel()
            await settle()
        assert len(line.places) == line.queue.taken <= at_once
        assert line.queue.waiting <= max_waiting
        # A place is free only while nobody waits.
        assert line.queue.taken == at_once or line.queue.waiting == 0
    while line.places:
        await line.end(min(line.places))
    assert (line.queue.taken, line.queue.waiting) == (0, 0)
    # Within a priority the served requests were served in the order of their arrival.
    for priority in Priority:
        numbers = [int(name) for name in line.served if priorities[name] is priority]
        assert numbers == sorted(numbers)
    for task in line.tasks.values():
        assert task.done()
        assert task.cancelled() or isinstance(task.exception(), Busy | type(None))
