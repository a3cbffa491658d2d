"""Text that a person types or edits."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.permissions.editor import edit_input, edit_text, typed


def test_keys_that_came_together_are_typed_one_after_the_other() -> None:
    assert typed("us", "e mktempX\x7f") == "use mktemp"
    assert typed("", "\x7f\x7fa") == "a"


def test_a_pasted_line_end_sends_nothing_and_nothing_invisible_is_typed() -> None:
    assert typed("", "a\nb\x1bc") == "a b c"


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import sys; open(sys.argv[1], 'a').write('more\\n')", "text\nmore"),
        ("import sys; open(sys.argv[1], 'a').write('more'); sys.exit(1)", "text"),
    ],
)
async def test_an_editor_that_fails_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, program: str, expected: str
) -> None:
    monkeypatch.setenv("VISUAL", f'{sys.executable} -c "{program}"')
    assert await edit_text("text", ".sh") == expected


async def test_without_an_editor_the_text_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", os.path.join(os.sep, "nowhere", "editor"))
    assert await edit_text("text", ".sh") == "text"


@pytest.mark.parametrize(
    ("given", "written", "expected"),
    [
        ({"command": "ls", "x": 1}, "rm", {"command": "rm", "x": 1}),
        ({"path": "a"}, '{"path": "b"}', {"path": "b"}),
    ],
)
async def test_an_input_is_edited_as_its_command_or_as_json(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    given: dict[str, Any],
    written: str,
    expected: dict[str, Any],
) -> None:
    (tmp_path / "new").write_text(written)
    monkeypatch.setenv("VISUAL", f"cp {tmp_path / 'new'}")
    assert await edit_input(given) == expected


@pytest.mark.parametrize("written", ["{", "[]"])
async def test_text_that_is_no_input_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: str
) -> None:
    (tmp_path / "new").write_text(written)
    monkeypatch.setenv("VISUAL", f"cp {tmp_path / 'new'}")
    with pytest.raises(ValueError, match=r"object|Expecting"):
        await edit_input({"path": "a"})
