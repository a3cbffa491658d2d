"""Rules settle permission requests at their opening, and while they wait."""

# ruff: noqa: ASYNC240 - small files of the test itself

from __future__ import annotations

from pathlib import Path

import pytest

from shared.runtime.errors import Conflict
from tests.unit.permission_service.conftest import MemoryBus, Room


async def test_for_this_session_answers_what_waits_and_what_comes(room: Room) -> None:
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


async def test_a_denial_can_be_remembered_too(room: Room) -> None:
    room.ask("a", command="rm x")
    await room.pending("a")
    await room.decide("a", False, remember={"scope": "caller"})
    (decision,) = await room.ask("b", command="rm x", session_id="s9").until(1)
    assert decision["outcome"] == "denied"
    assert "deny Bash: exactly rm x" in decision["message"]


async def test_a_broken_rules_file_leaves_everything_to_people_and_says_so(
    room: Room, bus: MemoryBus, rules_file: Path
) -> None:
    await room.question("add_rule", tool="Bash")
    rules_file.write_text(rules_file.read_text() + "\n[[rules]]\ntol = 'x'\n")
    room.ask("a")
    await room.pending("a")
    assert "cannot be used" in bus.facts["problem"]
    with pytest.raises(Conflict, match="cannot be used"):
        await room.decide("a", remember={"scope": "always"})
    await room.pending("a")


async def test_a_rule_still_answers_a_caller_with_its_share_open(room: Room) -> None:
    await room.question("add_rule", tool="Bash", command_prefix="touch", effect="deny")
    for number in range(16):
        room.ask(f"p{number}", command="ls")
    await room.pending(*(f"p{number}" for number in range(16)))
    (decision,) = await room.ask("ruled", command="touch x").until(1)
    assert decision["decided_by"] == "rule"
