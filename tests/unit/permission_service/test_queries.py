"""The verbs of the people, and what is refused to them."""

# ruff: noqa: ASYNC240 - small files of the test itself

from __future__ import annotations

from pathlib import Path

import pytest

from shared.runtime.errors import ClientError, Conflict, NotFound
from tests.unit.permission_service.conftest import Room


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


async def test_an_asker_can_call_its_question_back(room: Room) -> None:
    asked = room.ask("a", asker="token:7")
    await room.pending("a")
    assert await room.question("withdraw", asker="token:8") == {"withdrawn": []}
    assert await room.question("withdraw", asker="token:7") == {"withdrawn": ["a"]}
    (decision,) = await asked.until(1)
    assert decision["outcome"] == "cancelled"


class TestRemembering:
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

    async def test_an_answer_of_a_person_is_explained_with_its_author(self, room: Room) -> None:
        room.ask("a")
        await room.pending("a")
        await room.decide("a")
        explained = await room.question("explain", request_id="a")
        assert explained["outcome"] == "allowed"
        assert explained["why"].endswith(" answered after 0 s; no rule had decided")

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


async def test_callers_take_turns_in_the_list_and_each_keeps_its_order(room: Room) -> None:
    ids = [f"p{number}" for number in range(20)]
    for place, request_id in enumerate(ids):
        room.ask(request_id, session_id=f"s{place % 5}", caller=f"c{place // 10}")
        await room.pending(*ids[: place + 1])
    listed = [stored["request_id"] for stored in (await room.question("list"))["pending"]]
    assert listed == [
        request_id for pair in zip(ids[:10], ids[10:], strict=True) for request_id in pair
    ]


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
