"""What would run is readable, whole or with a word about what is left out."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from ccproxy.permissions.view import covered, show_input, show_prompt, time_left
from ccproxy.permissions.waiting import Prompt

NOW = 1_000.0


def prompt(tool: str = "Bash", given: dict[str, Any] | None = None, **fields: Any) -> Prompt:
    known: dict[str, Any] = {"is_question": False, "who": ["alice", "s1"], "expires_at": NOW + 90, "suggestion": None}
    return Prompt("a", tool, {"command": "ls"} if given is None else given, **known | fields)


def drawn(shown: Prompt, width: int = 80, **more: Any) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    options: dict[str, Any] = {"place": 1, "count": 1, "now": NOW, "ask": "", "problem": ""}
    console.print(show_prompt(shown, width=width, **options | more))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def lines(shown: Prompt) -> list[str]:
    return [line.plain for line in show_input(shown)]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_its_width_and_says_who_what_and_how_long(width: int) -> None:
    text = drawn(prompt(given={"command": "x" * 300}), width)
    assert all(len(line) <= width for line in text.splitlines())
    for words in ("Bash", "alice · s1", "1 of 1", "1:30 left", "allow once", "deny"):
        assert words in text


def test_the_time_left_is_told_to_the_second() -> None:
    assert [time_left(prompt(expires_at=NOW + left), NOW) for left in (300, 61, 9, -5)] == [
        "5:00 left",
        "1:01 left",
        "0:09 left",
        "0:00 left",
    ]
    assert time_left(prompt(expires_at=None), NOW) == "no limit"


def test_a_command_is_shown_with_its_description_and_every_other_field() -> None:
    given = {"command": "ls\nrm x", "description": "List", "dangerouslyDisableSandbox": True}
    assert lines(prompt(given=given)) == ["ls", "rm x", "List", "{", '  "dangerouslyDisableSandbox": true', "}"]


def test_an_edit_is_a_diff() -> None:
    shown = lines(prompt("Edit", {"file_path": "/a.py", "old_string": "one\ntwo", "new_string": "one\n2"}))
    assert shown == ["/a.py", "@@ -1,2 +1,2 @@", " one", "-two", "+2"]
    several = {"file_path": "/a.py", "edits": [{"old_string": "a", "new_string": "b"}, {"old_string": "c"}]}
    assert [line for line in lines(prompt("MultiEdit", several)) if line[0] in "+-"] == ["-a", "+b", "-c"]


def test_a_new_file_is_shown_as_it_would_be() -> None:
    assert lines(prompt("Write", {"file_path": "/a.py", "content": "x = 1\n"})) == ["/a.py", "x = 1"]


def test_anything_else_is_shown_as_json() -> None:
    assert lines(prompt("Other", {"n": [1]})) == ["{", '  "n": [', "    1", "  ]", "}"]
    assert lines(prompt("Other", {})) == []


def test_a_long_input_says_that_it_goes_on() -> None:
    assert "more lines, v shows all" in drawn(prompt(given={"command": "\n".join(["x"] * 500)}))


def test_the_like_of_it_is_offered_where_a_rule_could_cover_it() -> None:
    like = {"tool": "Bash", "command_prefix": "git status"}
    assert "allow git status … in this session" in drawn(prompt(suggestion=like))
    assert "session" not in drawn(prompt(who=["alice"]))
    assert covered({"tool": "Edit", "under": "/work"}) == "Edit under /work"
    assert covered({"tool": "Bash", "command": "make test"}) == "exactly make test"
    assert covered({"tool": "Bash", "command_prefix": "cat", "under": "/work"}) == "cat … under /work"
    assert covered({"tool": "WebFetch", "host": "example.com"}) == "example.com"
    assert covered({"tool": "mcp__db__read"}) == "mcp__db__read"


def test_a_question_shows_its_choices_and_cannot_just_be_allowed() -> None:
    options = [{"label": "this", "description": "the first"}, {"label": "that"}]
    text = drawn(
        prompt("AskUserQuestion", {"questions": [{"question": "Which?", "options": options}]}, is_question=True)
    )
    assert "Which?" in text
    assert " 1  this  the first" in text
    assert "allow" not in text
