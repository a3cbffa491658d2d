"""`ccproxy permissions import` shows every entry first, and adds what restricts first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.exits import DONE, USAGE
from ccproxy.cli.permissions.claude_settings import export_settings, import_settings
from shared.permissions.rules import Rule, read_rule
from shared.settings.problems import ConfigurationError

SETTINGS = {
    "permissions": {
        "allow": ["Bash(npm test)", "Bash(npm test)", "Bash(ls*)", "WebSearch"],
        "deny": ["Bash(git push:*)"],
        "defaultMode": "plan",
    }
}


class Gateway:
    """The rules of a stack."""

    def __init__(self) -> None:
        self.added: list[Rule] = []

    def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        if method == "POST":
            self.added.append(read_rule(options["json"]))
            return {}
        if path == "/permissions/rules":
            return {
                "rules": [{"id": Rule(tool="WebSearch").id}, *({"id": r.id} for r in self.added)]
            }
        return {"profiles": [{"rules": []}]}


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "app/.claude/settings.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(SETTINGS))
    return path


def test_without_a_terminal_the_entries_are_shown_and_nothing_is_added(
    gateway: Gateway, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_settings([file], None, gateway.ask, yes=False) == USAGE
    assert gateway.added == []
    shown = capsys.readouterr()
    rows = [line.split("\t")[:3] for line in shown.out.splitlines()]
    where = f", for agents working in {file.parent.parent}"
    assert rows == [
        ["deny", "Bash(git push:*)", f"deny Bash: git push …{where}"],
        ["allow", "Bash(npm test)", f"allow Bash: exactly npm test{where}"],
        ["allow", "Bash(npm test)", f"(there already) allow Bash: exactly npm test{where}"],
        ["allow", "Bash(ls*)", rows[3][2]],
        ["allow", "WebSearch", f"allow WebSearch{where}".replace("Search,", "Search:")],
    ]
    assert rows[3][2].startswith("(left out) a `*` may stand at the end only")
    assert "3 rule(s) to add; 1 entry left out." in shown.err
    assert "permissions.defaultMode" in shown.err
    assert "--yes" in shown.err


def test_what_restricts_is_added_first_and_a_second_run_adds_nothing(
    gateway: Gateway, file: Path
) -> None:
    assert import_settings([file], None, gateway.ask, yes=True) == DONE
    assert [rule.effect for rule in gateway.added] == ["deny", "allow", "allow"]
    assert import_settings([file], None, gateway.ask, yes=True) == DONE
    assert len(gateway.added) == 3


def test_rules_go_into_a_profile(gateway: Gateway, file: Path) -> None:
    assert import_settings([file], "coding", gateway.ask, yes=True) == DONE
    assert {rule.profile for rule in gateway.added} == {"coding"}
    with pytest.raises(ConfigurationError, match="cannot be the name"):
        import_settings([file], "Not A Name", gateway.ask, yes=True)


@pytest.mark.parametrize("text", ["{", "[]", '{"permissions": 5}'])
def test_a_file_that_cannot_be_used_is_named(gateway: Gateway, file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"settings\.json"):
        import_settings([file], None, gateway.ask, yes=True)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        import_settings([file.with_name("none.json")], None, gateway.ask, yes=True)


def test_the_export_is_json_and_the_rest_is_named_beside_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make = Rule(tool="Bash", command="make")
    rows = [
        {"id": make.id, "text": "", "by": "file", "until": None} | make.model_dump(),
        {"id": "rule_reading", "text": "allow reading", "effect": "allow", "in_force": True},
        {"id": "x", "by": "bob", **Rule(tool="Bash", command="ls *").model_dump(exclude_none=True)},
    ]
    export_settings(rows)
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {
        "permissions": {"allow": ["Bash(make)"], "ask": [], "deny": []}
    }
    assert "Left out: allow reading: it is built in here" in shown.err
    assert "Left out: allow Bash: exactly ls *: " in shown.err
    assert "protected paths" in shown.err


def test_the_users_own_settings_restrict_the_files_that_are_named(
    gateway: Gateway, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own/settings.json"
    own.parent.mkdir()
    own.write_text(json.dumps({"permissions": {"ask": ["WebSearch"], "defaultMode": "plan"}}))
    assert import_settings([file], None, gateway.ask, yes=True) == DONE
    assert "WebSearch" not in [rule.tool for rule in gateway.added]
    assert "`WebSearch` of `ask` may restrict it there" in capsys.readouterr().out
    # With both, the rule of the own settings is here as well.
    assert import_settings([own, file], None, gateway.ask, yes=True) == DONE
    assert [rule.effect for rule in gateway.added if rule.tool == "WebSearch"] == ["ask", "allow"]
