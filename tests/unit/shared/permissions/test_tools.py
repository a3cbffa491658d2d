"""The tables of tools say which field of a call is its command or its path."""

from __future__ import annotations

from shared.permissions.tools import (
    FILE_WRITERS,
    FOLDER_READERS,
    PATH_FIELDS,
    PATTERN_FIELDS,
    command_of,
)


def test_only_a_bash_call_has_a_command() -> None:
    assert command_of("Bash", {"command": "ls"}) == "ls"
    assert command_of("Other", {"command": "ls"}) is None
    assert command_of("Bash", {"command": 7}) is None
    assert command_of("Bash", {}) is None


def test_every_tool_stands_in_one_table_of_paths() -> None:
    assert not set(PATH_FIELDS) & set(FOLDER_READERS)
    assert set(FILE_WRITERS) < set(PATH_FIELDS)
    assert set(PATTERN_FIELDS) == set(FOLDER_READERS)
