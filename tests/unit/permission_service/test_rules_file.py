"""The rules file is changed in place, and never into a form that could not be read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from permission_service.rules_file import RulesFile
from shared.permissions.rules import Rule
from shared.permissions.rules_text import SwitchedProfiles, read_rules_text
from shared.runtime.errors import Conflict

TEXT = """# mine
[[rules]]
tool = "Read"  # all of it

# for the night
[profiles.night]
accept_edits = true
"""


@pytest.fixture
def file(tmp_path: Path) -> RulesFile:
    (tmp_path / "permissions.toml").write_text(TEXT)
    return RulesFile(tmp_path / "permissions.toml")


def test_a_rule_goes_into_its_profile_and_out_again_with_comments_kept(file: RulesFile) -> None:
    push = Rule(tool="Bash", command_prefix="git push", effect="deny", profile="night")
    file.add(push)
    file.add(push)
    assert file.read().profiles["night"].rules == (push,)
    assert [rule.tool for rule in file.content.rules] == ["Read"]
    file.remove(push.id)
    assert file.read().profiles["night"].rules == ()
    assert file.content.profiles["night"].accept_edits is True
    for comment in ("# mine", "# all of it", "# for the night"):
        assert comment in file.path.read_text()


def test_a_rule_makes_its_profile_and_the_first_rule_the_file(tmp_path: Path) -> None:
    file = RulesFile(tmp_path / "new/permissions.toml")
    file.add(Rule(tool="Read", profile="mine"))
    file.add(Rule(tool="Bash"))
    content = read_rules_text(file.path.read_text())
    assert [rule.tool for rule in content.rules] == ["Bash"]
    assert [rule.tool for rule in content.profiles["mine"].rules] == ["Read"]


def test_the_same_rule_outside_its_profile_stays(file: RulesFile) -> None:
    file.add(Rule(tool="Read", profile="night"))
    file.remove(Rule(tool="Read", profile="night").id)
    assert [rule.tool for rule in file.read().rules] == ["Read"]


def test_a_switch_is_written_once_with_its_maker_and_replaced(file: RulesFile) -> None:
    for names in (("night",), ()):
        switched = SwitchedProfiles(names, ("night",), "owner", "2026-11-29T20:00:00Z")
        file.switch(switched)
        assert file.read().switched == switched
    file.set_removed(["rule_reading"])
    assert file.read().switched == switched
    assert file.path.read_text().count("[active]") == 1
    assert "# for the night" in file.path.read_text()


def test_a_form_that_cannot_be_changed_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "permissions.toml"
    path.write_text("[profiles.night]\n")
    file = RulesFile(path)
    with pytest.raises(Conflict, match="by hand"):
        file.append("[profiles.night]\n")
    assert path.read_text() == "[profiles.night]\n"


def test_an_unusable_file_keeps_the_last_good_content_and_is_not_written_over(
    file: RulesFile,
) -> None:
    good = file.read()
    file.path.write_text("[[rules")
    assert file.read() == good
    with pytest.raises(Conflict, match="not valid TOML"):
        file.switch(SwitchedProfiles(("night",)))
    assert file.path.read_text() == "[[rules"
