"""What is typed; everything else about the terminal is proved in a real one (tests/contract)."""

from __future__ import annotations

import os
import sys

import pytest

from ccproxy.cli.permissions.terminal import edit_text, typed


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
