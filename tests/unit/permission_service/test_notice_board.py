"""Alerts and the agents' news are one list, the latest first; news of the owner is not in it."""

from __future__ import annotations

from permission_service.alerts.alert import Condition, Words, raised
from tests.unit.permission_service.conftest import Room


async def test_alerts_and_news_are_listed_together_latest_first(room: Room) -> None:
    assert (await room.question("notices"))["notices"] == []
    await room.question("notice", "alice", kind="done", program="Codex")
    room.clock.now += 1
    ends_at = room.clock() + 60
    near = Condition("quota", "claude 5h", "near", ends_at, ends_at)
    await room.alerts.settle(lambda _: [raised(near, Words("a", "b"), room.clock())])
    room.clock.now += 1
    await room.question("set_away", state="on")
    await room.question("notice", "alice", kind="waits", program="Codex")
    listed = (await room.question("notices"))["notices"]
    assert [(each["type"], each["kind"]) for each in listed] == [
        ("notice", "waits"),
        ("alert", "quota"),
        ("notice", "done"),
    ]
    assert all(each["at"] for each in listed)
