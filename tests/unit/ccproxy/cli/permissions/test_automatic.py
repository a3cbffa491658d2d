"""Unattended, only what a rule covers is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.permissions.automatic import Automatic
from shared.settings.problems import ConfigurationError


def request(command: str) -> dict[str, Any]:
    return {"request_id": "a", "tool_name": "Bash", "input": {"command": command}}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "auto.toml"
    path.write_text(
        '[[rules]]\ntool = "Bash"\ncommand_prefix = "ls"\n[[rules]]\ntool = "Bash"\ncommand = "rm '
        'x"\neffect = "deny"\n'
    )
    return path


def test_what_a_rule_covers_is_answered_and_nothing_else(rules: Path) -> None:
    automatic = Automatic(rules)
    assert automatic.answer(request("ls -l")) == {"allowed": True}
    denied = automatic.answer(request("rm x"))
    assert denied is not None
    assert denied["allowed"] is False
    assert "exactly rm x" in denied["message"]
    assert automatic.answer(request("ls; rm x")) is None


def test_a_file_that_breaks_later_answers_nothing(rules: Path) -> None:
    automatic = Automatic(rules)
    rules.write_text("[[rules")
    assert automatic.answer(request("ls")) is None
    rules.unlink()
    assert automatic.answer(request("ls")) is None


def test_a_file_that_is_broken_at_the_start_is_refused(rules: Path) -> None:
    rules.write_text("[[rules]]\ntool = 'x'\ntol = 1")
    with pytest.raises(ConfigurationError, match="tol"):
        Automatic(rules)
