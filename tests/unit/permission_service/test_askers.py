"""Permission requests in, decisions out; a request that cannot be read is refused, never allowed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shared.permissions.reach import reach_of
from shared.runtime.errors import ClientError, Conflict, NotFound
from shared.runtime.log import NAME
from tests.unit.permission_service.conftest import Asked, MemoryBus, Room


async def test_an_ask_waits_and_gets_the_answer_of_a_person(room: Room, bus: MemoryBus) -> None:
    asked = room.ask("a")
    await room.pending("a")
    assert asked.replies == []
    told = await room.decide("a")
    assert told == {"status": "success", "permission_id": "a", "allowed": True}
    (decision,) = await asked.until(1)
    assert (decision["outcome"], decision["decided_by"]) == ("allowed", "bob")
    assert b'ccproxy_permissions_decided_total{outcome="allowed"} 1.0' in room.metrics.snapshot()


async def test_an_ask_that_waits_for_a_person_is_logged_at_once_with_the_ways_to_answer(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger=NAME)
    asked = room.ask("a")
    await room.pending("a")
    await room.decide("a")
    await asked.until(1)
    told = {record.getMessage(): record.__dict__["facts"] for record in caplog.records}
    assert list(told) == ["permission_asked", "permission_settled"]
    assert told["permission_asked"]["request_id"] == "a"
    assert "ccproxy permission-handler" in told["permission_asked"]["answer_with"]


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b'{"request_id":"a","tool_name":"Bash","input":"ls"}']
)
async def test_an_ask_that_cannot_be_read_is_refused(room: Room, payload: bytes) -> None:
    asked = Asked(payload)
    with pytest.raises(ClientError):
        await room.server.ask(asked)  # type: ignore[arg-type]
    assert asked.replies == []


async def test_an_asker_that_leaves_withdraws_its_prompt_and_watchers_hear_at_once(
    room: Room, bus: MemoryBus
) -> None:
    asked, watcher = room.ask("a"), room.watch()
    await watcher.until(2)
    asked.caller_gone.set()
    asked.task.cancel()  # type: ignore[attr-defined]
    *_, event = await watcher.until(3)
    assert (event["name"], event["data"]["request_id"]) == ("permission_cancelled", "a")
    with pytest.raises(Conflict, match="gone"):
        await room.decide("a")
    await asyncio.gather(asked.task, return_exceptions=True)  # type: ignore[attr-defined]
    assert [record.outcome for record in bus.published] == ["cancelled"]


async def test_an_asker_that_gave_up_waiting_for_a_service_finds_its_request_still_open(
    room: Room,
) -> None:
    asked = room.ask("a")
    await room.pending("a")
    asked.caller_gave_up = True
    asked.caller_gone.set()
    asked.task.cancel()  # type: ignore[attr-defined]
    await asyncio.gather(asked.task, return_exceptions=True)  # type: ignore[attr-defined]
    again = room.ask("a")
    await room.decide("a")
    (decision,) = await again.until(1)
    assert decision["outcome"] == "allowed"


async def test_a_caller_with_its_share_open_is_denied_at_once_and_others_are_asked(
    room: Room, bus: MemoryBus
) -> None:
    ids = [f"p{number}" for number in range(16)]
    for request_id in ids:
        room.ask(request_id)
    await room.pending(*ids)
    (decision,) = await room.ask("one-more").until(1)
    assert (decision["outcome"], decision["decided_by"]) == ("denied", "limit")
    assert "16 permission requests open already" in decision["message"]
    assert [record.request_id for record in bus.published] == ["one-more"]
    room.ask("other", caller="bob")
    await room.pending(*ids, "other")
    with pytest.raises(NotFound):
        await room.question("get", request_id="one-more")
    await room.decide("p0")
    room.ask("again")
    await room.pending(*ids[1:], "other", "again")


@pytest.mark.parametrize(
    "fields", [{"command": "x" * 300_000}, {"tool": "T" * 5000}, {"refused": "too large"}]
)
async def test_a_request_beyond_its_size_is_denied_and_logged_as_an_excerpt(
    room: Room, bus: MemoryBus, fields: dict[str, str]
) -> None:
    (decision,) = await room.ask("a", **fields).until(1)
    assert (decision["outcome"], decision["decided_by"]) == ("denied", "limit")
    (record,) = bus.published
    assert len(record.input) + len(record.tool_name) < 1000
    assert bus.keys == {}
    assert room.desk.pending() == []


class TestDecidingWithoutAPerson:
    def inside(self, tmp_path: Path) -> dict[str, Any]:
        return {
            "working_directory": str(tmp_path),
            "reach": reach_of("Bash", {"command": "cat a"}, str(tmp_path)),
        }

    async def test_reading_is_recorded_but_nobody_is_told(self, room: Room, tmp_path: Path) -> None:
        watching = room.watch()
        await watching.until(1)
        (decision,) = await room.ask("a", command="cat a", **self.inside(tmp_path)).until(1)
        assert (decision["outcome"], decision["decided_by"], decision["rule"]) == (
            "allowed",
            "built_in",
            "rule_reading",
        )
        [record] = room.bus.published
        assert (record.request_id, record.outcome, record.rule) == ("a", "allowed", "rule_reading")
        assert len(watching.replies) == 1
        assert (await room.question("list"))["recent"] == []

    async def test_without_the_built_in_rule_a_person_is_asked(
        self, room: Room, tmp_path: Path
    ) -> None:
        await room.question("remove_rule", id="rule_reading")
        asked = room.ask("a", command="cat a", **self.inside(tmp_path))
        await room.pending("a")
        await room.question("restore_rule", id="rule_reading")
        (decision,) = await asked.until(1)
        assert decision["outcome"] == "allowed"

    async def test_nobody_watches_and_the_owner_wants_a_denial_then(self, make_room: Any) -> None:
        room = make_room(deny_without_watcher=True)
        (decision,) = await room.ask("a").until(1)
        assert (decision["outcome"], decision["decided_by"]) == ("denied", "no_watcher")
        assert "DENY_WITHOUT_WATCHER" in decision["message"]
        watching = room.watch()
        await watching.until(1)
        room.ask("b")
        await room.pending("b")
