"""A delivery's life on the server's side: accepted, answered, settled, its slot given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.bus.channels import Channel
from shared.bus.deliveries import Delivery, Served, Slots
from shared.bus.wire import ACCEPTED, END, ERROR, REPLY
from shared.runtime.errors import BusUnavailable, CallerGone, NotFound

TURNS = Channel("turns", "on_accept")
ASKS = Channel("asks", "when_done")
ME, CALLER = "worker:w0:2-b", "gateway:g:1-a"


class Redis:
    """Keeps what was written; `caller` says whether the caller's inbox is there, `holder` who
    claimed.
    """

    def __init__(self) -> None:
        self.caller = True
        self.holder = ME
        self.told: list[tuple[bytes, int]] = []
        self.acknowledged: list[str] = []

    def post(self, *command: Any, patient: bool = False) -> asyncio.Future[Any]:
        assert patient, "what a server writes waits for Redis"
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(self._answer(command))
        return answer

    def _answer(self, command: tuple[Any, ...]) -> Any:
        if command[0] == "EVAL":
            if self.holder == ME and self.caller:
                self.told.append((ACCEPTED, 0))
            if self.holder != ME:
                return [self.holder.encode(), b"taken"]
            return [ME.encode(), b"accepted" if self.caller else b"abandoned"]
        if command[0] == "XADD":
            fields = dict(zip(command[7::2], command[8::2], strict=True))
            if self.caller:
                self.told.append((fields[b"k"], fields[b"n"]))
            return b"1-1" if self.caller else None
        self.acknowledged.append(command[0])
        return 1


def take(
    redis: Redis, channel: Channel, *, slots: int = 1, caller: str = CALLER
) -> tuple[Served, Delivery]:
    served = Served(channel, Slots(slots), redis.post, ME)
    fields = {b"id": b"req", b"inbox": caller.encode(), b"call": b"1", b"data": b"{}"}
    (delivery,) = served.hold([(b"5-0", fields)])
    return served, delivery


async def test_what_is_sent_first_is_that_it_was_accepted():
    served, delivery = take(redis := Redis(), TURNS)
    await delivery.send(b"a")
    await delivery.send(b"b")
    await delivery.finish()
    assert redis.told == [(ACCEPTED, 0), (REPLY, 1), (REPLY, 2), (END, 3)]
    assert (served.held, redis.acknowledged) == ({}, [])  # claiming it took it out of the channel


async def test_when_done_it_leaves_the_channel_only_at_the_end():
    _, delivery = take(redis := Redis(), ASKS)
    await delivery.accept()
    assert redis.acknowledged == []
    await delivery.fail(NotFound())
    assert redis.told == [(ACCEPTED, 0), (ERROR, 1)]
    assert redis.acknowledged == ["XACK", "XDEL"]


@pytest.mark.parametrize(("caller", "holder"), [(True, "worker:w1:3-c"), (False, ME)])
async def test_what_another_claimed_or_nobody_waits_for_is_not_accepted(caller: bool, holder: str):
    served, delivery = take(redis := Redis(), TURNS)
    redis.caller, redis.holder = caller, holder
    with pytest.raises(CallerGone):
        await delivery.accept()
    assert delivery.caller_gone.is_set()
    await delivery.finish()
    assert (served.held, redis.told) == ({}, [])


async def test_a_caller_that_left_is_noticed_at_the_next_reply_and_finishing_is_quiet():
    served, delivery = take(redis := Redis(), ASKS)
    await delivery.send(b"a")
    redis.caller = False
    with pytest.raises(CallerGone):
        await delivery.send(b"b")
    await delivery.finish()
    assert (served.held, redis.acknowledged) == ({}, ["XACK", "XDEL"])


@pytest.mark.parametrize("channel", [TURNS, ASKS])
async def test_a_delivery_whose_cancel_may_be_lost_ends_with_an_error_to_its_caller(
    channel: Channel,
):
    served, delivery = take(redis := Redis(), channel)
    await delivery.send(b"a")
    delivery.lose(BusUnavailable())
    with pytest.raises(CallerGone):
        await delivery.send(b"b")
    await delivery.finish()
    assert redis.told == [(ACCEPTED, 0), (REPLY, 1), (ERROR, 2)]
    assert served.held == {}


async def test_a_delivery_that_is_lost_before_it_is_accepted_tells_its_caller_in_order():
    _, delivery = take(redis := Redis(), TURNS)
    delivery.lose(BusUnavailable())
    await delivery.fail(NotFound())
    assert redis.told == [(ACCEPTED, 0), (ERROR, 1)]


async def test_a_delivery_whose_caller_left_before_it_was_lost_tells_nobody():
    _, delivery = take(redis := Redis(), ASKS)
    await delivery.accept()
    delivery.caller_gone.set()
    delivery.lose(BusUnavailable())
    await delivery.finish()
    assert redis.told == [(ACCEPTED, 0)]


async def test_a_record_is_acknowledged_and_nobody_is_told():
    served, delivery = take(redis := Redis(), ASKS, caller="")
    await delivery.accept()
    await delivery.ack()
    assert (served.held, redis.told, redis.acknowledged) == ({}, [], ["XACK", "XDEL"])


async def test_a_slot_is_taken_until_its_delivery_is_settled():
    served, delivery = take(Redis(), TURNS, slots=1)
    room = asyncio.ensure_future(served.slots.room())
    await delivery.accept()
    await asyncio.sleep(0)
    assert (served.slots.free, room.done()) == (0, False)
    await delivery.finish()
    await room
    assert served.slots.free == 1


async def test_leases_are_renewed_for_what_redis_counts_as_ours():
    for channel, after_accepting in [(TURNS, []), (ASKS, [b"5-0"])]:
        served, delivery = take(Redis(), channel)
        assert served.unsettled() == [b"5-0"]
        await delivery.accept()
        assert served.unsettled() == after_accepting


async def test_what_is_held_already_or_was_trimmed_away_is_not_taken_again():
    served, delivery = take(Redis(), ASKS, slots=3)
    assert (
        served.hold([(b"5-0", {b"data": b"{}"}), (b"6-0", {}), (b"7-0", {b"data": b"new"})])[
            0
        ].payload
        == b"new"
    )
    assert list(served.held) == [b"5-0", b"7-0"]
    assert served.held[b"5-0"] is delivery


async def test_an_entry_of_another_form_is_a_delivery_that_can_be_ended() -> None:
    served = Served(ASKS, Slots(1), Redis().post, ME)
    (delivery,) = served.hold([(b"1-1", {b"id": b"\xff", b"inbox": b"\xff"})])
    assert delivery.payload == b""
    await delivery.finish()
    assert served.held == {}
