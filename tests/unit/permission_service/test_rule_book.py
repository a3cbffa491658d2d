"""The rules in force come from the owner's file, its profiles, the settings and Redis, and the
owner's file stays the owner's.
"""

# ruff: noqa: ASYNC240 - small files of the test itself

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from permission_service.built_in import EDITING
from permission_service.rule_book import RULE_SECONDS, FromSettings, RuleBook
from shared.bus.channels import PermissionRequest
from shared.permissions.rules import Rule
from shared.permissions.rules_text import SwitchedProfiles
from shared.runtime.errors import Conflict, NotFound
from tests.support.operations import operations_of
from tests.unit.permission_service.conftest import Clock, MemoryBus


def book(bus: MemoryBus, path: Path, clock: Callable[[], float] | None = None) -> RuleBook:
    return RuleBook(bus, path, clock or Clock())  # type: ignore[arg-type]


async def test_rules_of_sessions_and_callers_live_in_redis_until_their_end(
    bus: MemoryBus, rules_file: Path
) -> None:
    clock = Clock()
    rules = book(bus, rules_file, clock)
    kept = Rule(tool="Bash", scope="session", caller="a", session_id="s")
    await rules.add(kept, "bob")
    successor = book(bus, rules_file, clock)
    await successor.load()
    assert successor.all() == [kept]
    assert successor.describe()[0] == {
        "id": kept.id,
        "text": kept.describe(),
        "effect": "allow",
        "tool": "Bash",
        "scope": "session",
        "caller": "a",
        "session_id": "s",
        "by": "bob",
        "until": clock() + 86400,
    }
    assert not rules_file.exists()
    clock.now += 86401
    assert successor.all() == []


async def test_lasting_rules_live_in_the_file_whose_comments_stay(
    bus: MemoryBus, rules_file: Path
) -> None:
    rules_file.parent.mkdir()
    rules_file.write_text('# mine\n[[rules]]\ntool = "Read" # all of it\n')
    rules = book(bus, rules_file)
    added = Rule(tool="Bash", command_prefix="git status")
    await rules.add(added, "bob")
    await rules.add(added, "bob")
    assert [rule.tool for rule in rules.all()] == ["Read", "Bash"]
    assert rules_file.read_text().startswith('# mine\n[[rules]]\ntool = "Read" # all of it\n')
    await rules.remove(added.id)
    assert [rule.tool for rule in book(bus, rules_file).all()] == ["Read"]
    assert "# all of it" in rules_file.read_text()
    assert rules_file.stat().st_mode & 0o777 == 0o600


async def test_a_change_of_the_file_counts_from_the_next_question_on(
    bus: MemoryBus, rules_file: Path
) -> None:
    rules = book(bus, rules_file)
    assert rules.all() == []
    rules_file.parent.mkdir()
    rules_file.write_text('[[rules]]\ntool = "Read"\n')
    assert len(rules.all()) == 1
    rules_file.unlink()
    assert rules.all() == []


async def test_a_broken_file_allows_nothing_still_denies_and_is_not_written_over(
    bus: MemoryBus, rules_file: Path
) -> None:
    rules_file.parent.mkdir()
    rules_file.write_text('[[rules]]\ntool = "Read"\n[[rules]]\ntool = "Bash"\neffect = "deny"\n')
    rules = book(bus, rules_file)
    await rules.add(Rule(tool="Write", scope="caller", caller="a"), "bob")
    assert len(rules.all()) == 3
    rules_file.write_text("[[rules")
    assert [rule.tool for rule in rules.all()] == ["Bash"]
    assert "not valid TOML" in rules.problem
    with pytest.raises(Conflict):
        await rules.add(Rule(tool="Read"), "bob")
    assert rules_file.read_text() == "[[rules"


async def test_a_file_that_is_a_link_stays_one(
    bus: MemoryBus, rules_file: Path, tmp_path: Path
) -> None:
    rules_file.parent.mkdir()
    rules_file.symlink_to(tmp_path / "dotfiles.toml")
    await book(bus, rules_file).add(Rule(tool="Read"), "bob")
    assert rules_file.is_symlink()
    assert 'tool = "Read"' in (tmp_path / "dotfiles.toml").read_text()


async def test_a_file_that_cannot_be_written_is_told(bus: MemoryBus, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Conflict, match="cannot be"):
        await book(bus, tmp_path / "file/permissions.toml").add(Rule(tool="Read"), "bob")


async def test_a_rule_nobody_made_cannot_be_removed(bus: MemoryBus, rules_file: Path) -> None:
    with pytest.raises(NotFound):
        await book(bus, rules_file).remove("rule_x")
    await asyncio.sleep(0)


async def test_a_built_in_rule_is_removed_for_good_and_restored(
    bus: MemoryBus, rules_file: Path
) -> None:
    rules = book(bus, rules_file)
    await rules.add(Rule(tool="Bash", command_prefix="git status"), "bob")
    assert await rules.remove("rule_reading") == "allow reading inside the working folder"
    successor = book(bus, rules_file)
    assert [rule.id for rule in successor.built_in()] == ["rule_conversation"]
    assert [shown["in_force"] for shown in successor.describe() if shown["by"] == "built in"] == [
        False,
        True,
    ]
    assert [rule.command_prefix for rule in successor.all()] == ["git status"]
    with pytest.raises(NotFound):
        await successor.remove("rule_reading")
    await successor.restore("rule_reading")
    assert "rule_reading" in [rule.id for rule in book(bus, rules_file).built_in()]
    assert "removed" not in rules_file.read_text()
    with pytest.raises(NotFound):
        await successor.restore("rule_nobody_made")


async def test_both_built_in_rules_can_be_removed_and_rules_added_after(
    bus: MemoryBus, rules_file: Path
) -> None:
    rules = book(bus, rules_file)
    await rules.remove("rule_reading")
    await rules.remove("rule_conversation")
    await rules.add(Rule(tool="Read"), "bob")
    successor = book(bus, rules_file)
    assert (successor.built_in(), [rule.tool for rule in successor.all()]) == ([], ["Read"])


async def test_a_rule_from_the_settings_is_shown_with_its_setting_and_changed_only_there(
    bus: MemoryBus, rules_file: Path
) -> None:
    allowed = Rule(tool="WebSearch")
    from_settings = FromSettings((allowed,), "CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS", (EDITING,))
    rules = RuleBook(bus, rules_file, Clock(), from_settings)  # type: ignore[arg-type]
    assert rules.all() == [allowed]
    assert {shown["id"]: shown["by"] for shown in rules.describe()} == {
        allowed.id: "CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS",
        "rule_reading": "built in",
        "rule_conversation": "built in",
        "rule_editing": "CLAUDE__CODE_OPTIONS__PERMISSION_MODE=acceptEdits",
    }
    for rule_id, setting in ((allowed.id, "ALLOWED_TOOLS"), ("rule_editing", "PERMISSION_MODE")):
        with pytest.raises(Conflict, match=setting):
            await rules.remove(rule_id)


async def test_a_broken_file_also_ends_the_built_in_rules(bus: MemoryBus, rules_file: Path) -> None:
    rules_file.parent.mkdir()
    rules_file.write_text("removed = 5")
    rules = book(bus, rules_file)
    assert rules.built_in() == []
    assert "removed is a list" in rules.problem


async def test_a_setting_that_is_no_rule_is_named_and_leaves_the_others_in_force(
    bus: MemoryBus, rules_file: Path
) -> None:
    rules = RuleBook(bus, rules_file, Clock(), FromSettings(problem="ALLOWED_TOOLS: no"))  # type: ignore[arg-type]
    assert (rules.notice, len(rules.built_in())) == ("ALLOWED_TOOLS: no", 2)


async def test_rules_hold_again_once_a_file_that_could_not_be_reached_can(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "rules.toml"
    file.write_text('[[rules]]\ntool = "Read"\n')
    rules = book(MemoryBus(), file)
    assert [rule.effect for rule in rules.all()] == ["allow"]
    away = folder.rename(tmp_path / "away")
    folder.write_text("a file where the folder was")
    assert rules.all() == []
    assert "cannot be read" in rules.problem
    folder.unlink()
    away.rename(folder)
    assert [rule.effect for rule in rules.all()] == ["allow"]


NIGHT = """[[rules]]
tool = "Bash"
[profiles.night]
accept_edits = true
[[profiles.night.rules]]
effect = "deny"
tool = "Bash"
command_prefix = "git push"
"""


@pytest.fixture
def rules(bus: MemoryBus, rules_file: Path) -> RuleBook:
    rules_file.parent.mkdir()
    rules_file.write_text(NIGHT)
    return book(bus, rules_file)


def test_a_profile_is_in_force_once_it_is_switched_on(rules: RuleBook, rules_file: Path) -> None:
    assert len(rules.all()) == 1
    rules.switch(SwitchedProfiles(("night",)))
    (_, push) = rules.all()
    assert push.profile == "night"
    assert rules.built_in()[-1].id == "night:rule_editing"
    shown = {row["id"]: row for row in rules.describe()}
    assert shown[push.id]["by"] == str(rules_file)
    assert "fixed" not in shown[push.id]
    assert shown["night:rule_editing"]["fixed"] is True
    assert shown["night:rule_editing"]["by"] == "the profile night"
    # The choice is in the file, so the next process has it.
    assert book(MemoryBus(), rules_file).all() == rules.all()
    rules.switch(SwitchedProfiles())
    assert len(rules.all()) == 1
    # A past decision is still explained.
    assert "in the profile night" in rules.text_of(push.id)
    assert "in the profile night" in rules.text_of("night:rule_editing")


def test_a_profile_bound_to_away_follows_the_owner(rules: RuleBook) -> None:
    rules.switch(SwitchedProfiles((), ("night",)))
    assert rules.profiles_in_force() == []
    rules.is_away = lambda: True
    assert [profile.name for profile in rules.profiles_in_force()] == ["night"]
    assert len(rules.all()) == 2


async def test_a_broken_file_leaves_the_denials_of_active_profiles(
    rules: RuleBook, rules_file: Path
) -> None:
    rules.switch(SwitchedProfiles(("night",)))
    rules_file.write_text("[[rules")
    assert [rule.effect for rule in rules.all()] == ["deny"]
    assert rules.built_in() == []
    with pytest.raises(Conflict):
        rules.switch(SwitchedProfiles())


def test_a_profile_nobody_made_cannot_be_switched_on(rules: RuleBook, rules_file: Path) -> None:
    with pytest.raises(NotFound, match="there are coding, read-only, night"):
        rules.switch(SwitchedProfiles((), ("evening",)))
    rules_file.write_text(NIGHT + "[active]\nprofiles = ['evening']\n")
    assert rules.notes() == ["The active profile evening is not in the rules file."]


async def test_a_built_in_profile_is_changed_in_a_copy(rules: RuleBook, rules_file: Path) -> None:
    rules.switch(SwitchedProfiles(("read-only",)))
    write = next(rule for rule in rules.all() if rule.tool == "Write")
    (shown,) = [row for row in rules.describe() if row["id"] == write.id]
    assert (shown["by"], shown["fixed"]) == ("built in, profile read-only", True)
    with pytest.raises(Conflict, match="profile copy read-only"):
        await rules.remove(write.id)
    with pytest.raises(Conflict, match="already"):
        rules.copy_profile("night")
    with pytest.raises(NotFound):
        rules.copy_profile("evening")
    rules.copy_profile("read-only")
    await rules.remove(write.id)
    assert write not in rules.all()
    assert any(rule.tool == "Edit" for rule in rules.all())


async def test_a_rule_for_a_built_in_profile_takes_the_others_along(rules: RuleBook) -> None:
    added = Rule(tool="Read", profile="coding")
    await rules.add(added, "bob")
    assert not rules.is_starting_point("coding")
    assert added in rules.profiles()["coding"].rules
    assert len(rules.profiles()["coding"].rules) > 1


async def test_the_rule_of_accept_edits_is_changed_in_its_profile(rules: RuleBook) -> None:
    rules.switch(SwitchedProfiles(("night",)))
    with pytest.raises(Conflict, match="accept_edits"):
        await rules.remove("night:rule_editing")


def test_a_tried_file_is_tried_with_the_profiles_it_has_active(rules: RuleBook) -> None:
    tried = rules.with_file(NIGHT + "[active]\nprofiles = ['night']\n")
    push = PermissionRequest("p1", "Bash", {"command": "git push"})
    assert [rule.effect for rule in tried.concerning(push)] == ["allow", "deny"]
    assert "night:rule_editing" in [rule.id for rule in tried.built_in()]
    assert [rule.effect for rule in rules.with_file(NIGHT).concerning(push)] == ["allow"]


async def test_a_decision_costs_no_more_beside_many_rules(bus: MemoryBus, tmp_path: Path) -> None:
    async def filled(count: int) -> RuleBook:
        rules = book(bus, tmp_path / "none.toml", lambda: 0.0)
        for number in range(count):
            kind = {"scope": "caller", "caller": f"caller-{number}"}
            await rules.add(Rule(tool="Bash", command_prefix=f"make {number}", **kind), "alice")
            kind |= {"scope": "session", "caller": "alice", "session_id": f"s{number}"}
            await rules.add(Rule(tool="Write", under=f"/srv/{number}", **kind), "alice")
        return rules

    ask = PermissionRequest("p1", "Bash", {"command": "make 3"}, caller="caller-3", session_id="s1")
    few, many = await filled(5), await filled(200)
    assert many.concerning(ask) == few.concerning(ask) == [many.all()[6]]
    assert operations_of(lambda: many.concerning(ask)) == operations_of(lambda: few.concerning(ask))


async def test_a_rule_counts_from_its_making_to_its_end_or_removal(
    bus: MemoryBus, rules_file: Path
) -> None:
    now = [0.0]
    rules = book(bus, rules_file, lambda: now[0])
    ask = PermissionRequest("p1", "Read", {}, caller="alice", session_id="s1")
    assert rules.concerning(ask) == []
    session = Rule(tool="Read", scope="session", caller="alice", session_id="s1")
    lasting = Rule(tool="Read", scope="caller", caller="alice")
    await rules.add(session, "alice")
    await rules.add(lasting, "alice")
    await rules.add(session, "alice")
    assert rules.concerning(ask) == [session, lasting]
    now[0] = RULE_SECONDS["session"] + 1
    assert rules.concerning(ask) == [lasting]
    await rules.remove(lasting.id)
    assert rules.concerning(ask) == []


def test_the_owners_presence_and_the_file_change_the_rules_in_force_at_once(
    rules: RuleBook, rules_file: Path
) -> None:
    push = PermissionRequest("p1", "Bash", {"command": "git push"})
    rules.switch(SwitchedProfiles((), ("night",)))
    assert [rule.effect for rule in rules.concerning(push)] == ["allow"]
    rules.is_away = lambda: True
    assert [rule.effect for rule in rules.concerning(push)] == ["allow", "deny"]
    rules_file.unlink()
    assert rules.concerning(push) == []


async def test_a_denial_remembered_while_the_file_is_broken_holds_at_once(
    rules: RuleBook, rules_file: Path
) -> None:
    rules_file.write_text("broken = [")
    ask = PermissionRequest("p1", "Read", {}, caller="alice")
    assert rules.concerning(ask) == []
    denial = Rule(effect="deny", tool="Read", scope="caller", caller="alice")
    await rules.add(denial, "alice")
    await rules.add(Rule(tool="Read", scope="caller", caller="alice"), "alice")
    assert rules.concerning(ask) == [denial]
    rules_file.write_text("")
    assert [rule.effect for rule in rules.concerning(ask)] == ["deny", "allow"]
