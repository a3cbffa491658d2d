"""Deliveries in, decisions out; what cannot be read is refused, never allowed."""

# ruff: noqa: ASYNC240 - small files of the test itself

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.bus.channels import PermissionQuery, encode_payload
from shared.permissions.reach import reach_of
from shared.runtime.errors import BusUnavailable, ClientError, Conflict, NotFound
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


async def test_a_verb_the_desk_does_not_know_is_refused(room: Room) -> None:
    with pytest.raises(ClientError, match="'approve_everything'"):
        await room.question("approve_everything")


@pytest.mark.parametrize("allowed", [None, 1, "true", "yes", []])
async def test_only_a_true_true_allows(room: Room, allowed: object) -> None:
    room.ask("a")
    await room.pending("a")
    with pytest.raises(ClientError, match="allowed"):
        await room.question("decide", request_id="a", allowed=allowed)
    await room.pending("a")


async def test_of_two_answers_at_once_one_is_first_a_hundred_times(room: Room) -> None:
    for number in range(100):
        asked = room.ask(f"p{number}")
        await room.pending(f"p{number}")
        answers = await asyncio.gather(
            room.decide(f"p{number}", True, "one"),
            room.decide(f"p{number}", False, "two"),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers].count(Conflict) == 1
        (decision,) = await asked.until(1)
        assert (decision["decided_by"] == "one") == isinstance(answers[1], Conflict)


async def test_expiry_answers_with_its_message(room: Room) -> None:
    asked = room.ask("a", timeout_seconds=0.05)
    await room.pending("a")
    room.clock.now += 0.05
    (decision,) = await asked.until(1)
    assert decision["outcome"] == "expired"
    assert decision["message"].startswith("Nobody answered within 0.05 seconds")


async def test_what_expired_while_no_desk_was_there_is_not_shown_as_pending(room: Room) -> None:
    asked = room.ask("a", timeout_seconds=5, asked_at=room.clock() - 10)
    (decision,) = await asked.until(1)
    assert decision["outcome"] == "expired"


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


async def test_an_asker_can_call_its_question_back(room: Room) -> None:
    asked = room.ask("a", asker="token:7")
    await room.pending("a")
    assert await room.question("withdraw", asker="token:8") == {"withdrawn": []}
    assert await room.question("withdraw", asker="token:7") == {"withdrawn": ["a"]}
    (decision,) = await asked.until(1)
    assert decision["outcome"] == "cancelled"


class TestAnotherDeskTakesOver:
    async def test_a_pending_ask_is_found_again_under_its_number_and_can_be_answered(
        self, make_room: Callable[[], Room]
    ) -> None:
        first = make_room()
        stopped = first.ask("a")
        await first.pending("a")
        (number,) = [event.number for event in first.desk.events_after(0)]
        stopped.task.cancel()  # type: ignore[attr-defined]
        second = make_room()
        await second.server.load()
        await second.pending("a")
        await second.decide("a")
        asked = second.ask("a")  # delivered again
        (decision,) = await asked.until(1)
        assert decision["outcome"] == "allowed"
        assert next(second.desk.events_after(0)).number == number

    async def test_what_was_decided_is_not_asked_again(
        self, make_room: Callable[[], Room], bus: MemoryBus
    ) -> None:
        first = make_room()
        first.ask("a")
        await first.pending("a")
        await first.decide("a", False, message="no")
        second = make_room()
        await second.server.load()
        (decision,) = await second.ask("a").until(1)
        assert (decision["outcome"], decision["message"]) == ("denied", "no")
        assert {record.request_id for record in bus.published} == {"a"}

    async def test_a_stop_answers_nothing_so_that_the_ask_stays(
        self, room: Room, bus: MemoryBus
    ) -> None:
        asked = room.ask("a")
        await room.pending("a")
        asked.task.cancel()  # type: ignore[attr-defined]
        await asyncio.gather(asked.task, return_exceptions=True)  # type: ignore[attr-defined]
        await room.pending("a")
        assert (asked.replies, bus.published) == ([], [])

    async def test_what_nobody_comes_back_for_is_withdrawn(
        self, make_room: Callable[[], Room]
    ) -> None:
        first = make_room()
        first.ask("gone")
        first.ask("back")
        await first.pending("gone", "back")
        second = make_room()
        await second.server.load()
        second.ask("back")
        await second.server.withdraw_orphans(after=0.01)
        await second.pending("back")


class TestRedisAway:
    async def test_an_answer_that_could_not_be_kept_is_no_answer(
        self, room: Room, bus: MemoryBus
    ) -> None:
        asked = room.ask("a")
        await room.pending("a")
        bus.down = True
        with pytest.raises(BusUnavailable):
            await room.decide("a")
        await room.pending("a")
        bus.down = False
        await room.decide("a", False)
        (decision,) = await asked.until(1)
        assert decision["outcome"] == "denied"

    async def test_an_expiry_waits_for_redis_and_then_counts(
        self, room: Room, bus: MemoryBus
    ) -> None:
        asked = room.ask("a", timeout_seconds=0.02)
        await room.pending("a")
        bus.down = True
        room.clock.now += 1
        await asyncio.sleep(0.05)
        assert asked.replies == []
        bus.down = False
        (decision,) = await asked.until(1)
        assert decision["outcome"] == "expired"


class TestRemembering:
    async def test_for_this_session_answers_what_waits_and_what_comes(self, room: Room) -> None:
        first, waiting = room.ask("a", command="echo 1"), room.ask("b", command="echo 2")
        other_session = room.ask("c", command="echo 3", session_id="s2")
        await room.pending("a", "b", "c")
        told = await room.decide("a", remember={"scope": "session"})
        assert told["remembered"] == "allow Bash: echo …, in this session"
        (decision,) = await waiting.until(1)
        assert (decision["decided_by"], decision["rule"]) == ("rule", told["rule"])
        assert (await room.ask("d", command="echo 4").until(1))[0]["outcome"] == "allowed"
        await room.pending("c")
        assert (await first.until(1))[0]["decided_by"] == "bob"
        assert other_session.replies == []

    async def test_a_denial_can_be_remembered_too(self, room: Room) -> None:
        room.ask("a", command="rm x")
        await room.pending("a")
        await room.decide("a", False, remember={"scope": "caller"})
        (decision,) = await room.ask("b", command="rm x", session_id="s9").until(1)
        assert decision["outcome"] == "denied"
        assert "deny Bash: exactly rm x" in decision["message"]

    async def test_always_goes_into_the_users_file(self, room: Room, rules_file: Path) -> None:
        room.ask("a", command="git status")
        await room.pending("a")
        await room.decide("a", remember={"scope": "always"})
        assert 'command_prefix = "git status"' in rules_file.read_text()
        (decision,) = await room.ask(
            "b", command="git status -s", caller="x", session_id="y"
        ).until(1)
        assert decision["outcome"] == "allowed"

    async def test_a_rule_of_ones_own_must_cover_what_was_asked(self, room: Room) -> None:
        room.ask("a", command="git status")
        await room.pending("a")
        with pytest.raises(ClientError, match="would not have covered"):
            await room.decide(
                "a", remember={"scope": "always", "rule": {"tool": "Bash", "command_prefix": "ls"}}
            )
        with pytest.raises(ClientError, match=r"remember\.scope"):
            await room.decide("a", remember={"scope": "universe"})
        await room.pending("a")

    async def test_what_no_rule_can_cover_is_answered_once_only(self, room: Room) -> None:
        room.ask("a", command="ls; rm x")
        await room.pending("a")
        with pytest.raises(ClientError, match="no rule follows"):
            await room.decide("a", remember={"scope": "session"})

    async def test_the_loser_of_a_race_leaves_no_rule(self, room: Room) -> None:
        room.ask("a")
        await room.pending("a")
        await room.decide("a", False)
        with pytest.raises(Conflict):
            await room.decide("a", True, remember={"scope": "always"})
        assert [rule["by"] for rule in (await room.question("rules"))["rules"]] == [
            "built in",
            "built in",
        ]

    async def test_rules_are_listed_explained_and_revoked(self, room: Room) -> None:
        added = await room.question("add_rule", tool="Bash", command_prefix="touch")
        (decision,) = await room.ask("a").until(1)
        assert decision["rule"] == added["id"]
        explained = await room.question("explain", request_id="a")
        assert (explained["outcome"], explained["why"]) == ("allowed", "allow Bash: touch …")
        asked = {"tool_name": "Bash", "input": {"command": "touch y"}}
        assert (await room.question("explain", **asked))["outcome"] == "allow"
        assert (await room.question("rules"))["rules"][0]["id"] == added["id"]
        await room.question("remove_rule", id=added["id"])
        assert (await room.question("explain", **asked))["outcome"] == "ask"
        assert "since been removed" in (await room.question("explain", request_id="a"))["why"]
        with pytest.raises(NotFound):
            await room.question("remove_rule", id=added["id"])

    async def test_a_broken_rules_file_leaves_everything_to_people_and_says_so(
        self, room: Room, bus: MemoryBus, rules_file: Path
    ) -> None:
        await room.question("add_rule", tool="Bash")
        rules_file.write_text(rules_file.read_text() + "\n[[rules]]\ntol = 'x'\n")
        room.ask("a")
        await room.pending("a")
        assert "cannot be used" in bus.facts["problem"]
        with pytest.raises(Conflict, match="cannot be used"):
            await room.decide("a", remember={"scope": "always"})
        await room.pending("a")


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


async def test_callers_take_turns_in_the_list_and_each_keeps_its_order(room: Room) -> None:
    ids = [f"p{number}" for number in range(20)]
    for place, request_id in enumerate(ids):
        room.ask(request_id, session_id=f"s{place % 5}", caller=f"c{place // 10}")
        await room.pending(*ids[: place + 1])
    listed = [stored["request_id"] for stored in (await room.question("list"))["pending"]]
    assert listed == [
        request_id for pair in zip(ids[:10], ids[10:], strict=True) for request_id in pair
    ]


async def test_every_end_is_recorded_with_who_and_how_long(room: Room, bus: MemoryBus) -> None:
    asked = room.ask("a")
    await room.pending("a")
    room.clock.now += 2
    await room.decide("a", updated_input={"command": "touch y"})
    await asked.until(1)
    (record,) = bus.published
    assert (record.outcome, record.decided_by, record.caller, record.waited_ms) == (
        "allowed",
        "bob",
        "alice",
        2000,
    )
    assert (record.input, record.updated_input) == (
        '{"command":"touch x"}',
        '{"command":"touch y"}',
    )


async def test_the_watch_of_somebody_who_sends_nonsense_begins_at_the_present(room: Room) -> None:
    delivery = Asked(encode_payload(PermissionQuery("watch", {"after": "x"})))
    room.start(room.server.answer(delivery))  # type: ignore[arg-type]
    assert await delivery.until(1) == [{"synced": 0}]


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


async def test_a_rule_still_answers_a_caller_with_its_share_open(room: Room) -> None:
    await room.question("add_rule", tool="Bash", command_prefix="touch", effect="deny")
    for number in range(16):
        room.ask(f"p{number}", command="ls")
    await room.pending(*(f"p{number}" for number in range(16)))
    (decision,) = await room.ask("ruled", command="touch x").until(1)
    assert decision["decided_by"] == "rule"


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


async def test_an_ended_request_keeps_an_excerpt_and_its_log_entry_keeps_more(
    room: Room, bus: MemoryBus
) -> None:
    asked = room.ask("a", command="x" * 50_000)
    await room.pending("a")
    await room.decide("a")
    await asked.until(1)
    await asked.task  # type: ignore[attr-defined]
    (record,) = bus.published
    assert len(record.input) > 50_000
    assert len((await room.question("get", request_id="a"))["input"]["command"]) < 300
    assert sum(map(len, bus.keys.values())) < 2000


async def test_a_request_forgotten_for_its_number_leaves_redis_too(
    make_room: Callable[[], Room], bus: MemoryBus
) -> None:
    room = make_room()
    await (room.ask("a", timeout_seconds=0.01, asked_at=room.clock() - 1)).until(1)
    assert list(bus.keys) == ["permission:request:a"]
    room.clock.now += 4000
    room.ask("b")
    await room.pending("b")
    assert list(bus.keys) == ["permission:request:b"]


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

    async def test_the_deny_rules_of_claude_code_are_handed_out(self, room: Room) -> None:
        answer = await room.question("claude_rules")
        assert isinstance(answer["deny"], list)


async def test_a_rule_can_be_added_after_the_last_one_was_removed(
    room: Room, rules_file: Path
) -> None:
    for tool in ("Bash", "Read", "Write"):
        added = await room.question("add_rule", tool=tool, effect="deny")
        told = await room.question("rules")
        assert (told["problem"], told["rules"][0]["id"]) == ("", added["id"])
        await room.question("remove_rule", id=added["id"])
        assert "rule_" in (await room.question("rules"))["rules"][0]["id"]
    rules_file.write_text("rules = []\n")
    await room.question("add_rule", tool="Bash", effect="deny")
    assert (await room.question("rules"))["problem"] == ""
