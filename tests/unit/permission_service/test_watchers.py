"""A watcher sees every event once, also after it was away."""

from __future__ import annotations

from shared.bus.channels import PermissionQuery, encode_payload
from tests.unit.permission_service.conftest import Asked, Room


class TestWatching:
    async def test_a_watcher_sees_what_is_pending_then_what_happens(self, room: Room) -> None:
        room.ask("a")
        await room.pending("a")
        watcher = room.watch()
        first, synced = await watcher.until(2)
        assert (first["name"], first["data"]["type"]) == (
            "permission_request",
            "permission_request",
        )
        assert synced == {"synced": first["number"]}
        await room.decide("a")
        *_, resolved = await watcher.until(3)
        assert (resolved["name"], resolved["data"]["allowed"]) == ("permission_resolved", True)

    async def test_a_watcher_that_comes_back_misses_and_repeats_nothing(self, room: Room) -> None:
        for number in range(5):
            room.ask(f"p{number}")
        await room.pending(*(f"p{number}" for number in range(5)))
        await room.decide("p1")
        everything = await room.watch(0).until(7)
        events = [event for event in everything if "number" in event]
        for place, event in enumerate(events):
            rest = (await room.watch(event["number"]).until(len(events) - place))[1:]
            assert rest == events[place + 1 :]


async def test_the_watch_of_somebody_who_sends_nonsense_begins_at_the_present(room: Room) -> None:
    delivery = Asked(encode_payload(PermissionQuery("watch", {"after": "x"})))
    room.start(room.server.answer(delivery))  # type: ignore[arg-type]
    assert await delivery.until(1) == [{"synced": 0}]
