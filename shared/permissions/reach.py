"""The paths and hosts touched by a tool call, as seen by the machine that runs the tool.

Links are followed on this machine: call `reach_of` only where the tool runs. The result travels
with the permission request, so that the permission service never judges by the links of another
machine. A request without a reach is judged by `spelled_reach`, by its spelling alone.

Invariant: when `complete` is True the call touches nothing that is not listed; in doubt `complete`
is False.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from shared.permissions.commands import (
    LONGEST_SIMPLE_COMMAND,
    WILDCARDS,
    named_files,
    read_command,
    simple_command,
)
from shared.permissions.hosts import host_of
from shared.permissions.patches import PATCH_TOOL, patched_files
from shared.permissions.paths import plain_path
from shared.permissions.tools import (
    COMMAND_FIELDS,
    COMMAND_TOOL,
    FILE_WRITERS,
    FOLDER_READERS,
    PATH_FIELDS,
    PATTERN_FIELDS,
    TOUCH_NOTHING,
    URL_TOOL,
)

MOST_PATHS = 64  # paths listed of one command; a longer list is not complete


@dataclass(slots=True)
class ReachedPath:
    """One path of a tool call: `asked` is absolute and as written, `real` has every link resolved.

    `real` is empty when the links are not known. `below` is True when the call also touches what
    lies below.
    """

    asked: str
    real: str = ""
    writes: bool = False
    below: bool = False


@dataclass(slots=True)
class Reach:
    """Everything a tool call is known to touch. `complete` is False when the call may touch more
    than is listed. `elsewhere` is True when the tool runs on a machine whose links differ from the
    links of the permission service.
    """

    paths: list[ReachedPath] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    complete: bool = False
    elsewhere: bool = False


def reach_of(tool_name: str, given: dict[str, Any], working_directory: str) -> Reach:
    """Return the paths touched by the call of a tool with the input `given`, with this machine's
    links resolved.

    `working_directory` is the folder in which relative paths start; an empty text when unknown.
    """
    reach = spelled_reach(tool_name, given, working_directory)
    # A word without a slash can name a link in the working folder that leads anywhere.
    if tool_name == COMMAND_TOOL and not reach.complete:
        reach.paths += _linked_words(given, working_directory)
    for path in reach.paths:
        path.real = os.path.realpath(path.asked)
    return reach


def _linked_words(given: dict[str, Any], working_directory: str) -> list[ReachedPath]:
    """Return the words of a command without a slash that name a link in the working folder."""
    command = given.get("command")
    if not isinstance(command, str) or len(command) > LONGEST_SIMPLE_COMMAND:
        return []
    words = [word for word in dict.fromkeys(read_command(command).words) if "/" not in word][
        :MOST_PATHS
    ]
    paths = [plain_path(word, working_directory) for word in words]
    return [
        ReachedPath(path, writes=True)
        for path in paths
        if path is not None and os.path.islink(path)
    ]


def spelled_reach(tool_name: str, given: dict[str, Any], working_directory: str) -> Reach:
    """Return the paths touched by the call, judged by spelling alone; every `real` is empty."""
    if tool_name in TOUCH_NOTHING:
        return Reach(complete=True)
    if tool_name in PATH_FIELDS:
        return _reach_of_file(tool_name, given, working_directory)
    if tool_name in FOLDER_READERS:
        return _reach_of_folder(tool_name, given, working_directory)
    if tool_name == URL_TOOL:
        host = host_of(given.get("url"))
        return Reach(hosts=[host], complete=True) if host else Reach()
    if tool_name == COMMAND_TOOL:
        return _reach_of_command(given, working_directory)
    if tool_name == PATCH_TOOL:
        paths = [plain_path(file, working_directory) for file in patched_files(given)]
        return Reach([ReachedPath(path, writes=True) for path in paths if path][:MOST_PATHS])
    return Reach()


def _reach_of_file(tool_name: str, given: dict[str, Any], working_directory: str) -> Reach:
    path = plain_path(given.get(PATH_FIELDS[tool_name]), working_directory)
    if path is None:
        return Reach()
    return Reach([ReachedPath(path, writes=tool_name in FILE_WRITERS)], complete=True)


def _reach_of_folder(tool_name: str, given: dict[str, Any], working_directory: str) -> Reach:
    """Return the folder and everything below. A pattern that may leave the folder makes the reach
    incomplete.
    """
    folder = plain_path(
        given.get(FOLDER_READERS[tool_name]) or working_directory, working_directory
    )
    if folder is None:
        return Reach()
    patterns = [given.get(name) for name in PATTERN_FIELDS[tool_name]]
    stays = all(pattern is None or _stays_below(pattern) for pattern in patterns)
    return Reach([ReachedPath(folder, below=True)], complete=stays)


def _stays_below(pattern: object) -> bool:
    """Return True when a glob pattern names only paths below the starting folder."""
    if not isinstance(pattern, str) or not pattern or pattern.startswith(("/", "~")):
        return False
    return (
        ".." not in pattern
        and not set(pattern) & set("\\$%\0")
        and not pattern.startswith((" ", "{/", "{~"))
    )


def _reach_of_command(given: dict[str, Any], working_directory: str) -> Reach:
    command = given.get("command")
    if not isinstance(command, str) or len(command) > LONGEST_SIMPLE_COMMAND:
        return Reach()
    words = simple_command(command)
    named = named_files(words) if words is not None and not set(given) - COMMAND_FIELDS else None
    if named is None:
        return Reach(list(_mentioned_paths(command, working_directory)))
    files, writes = named
    paths = [plain_path(file, working_directory) for file in files]
    known = [ReachedPath(path, writes=writes) for path in paths if path is not None][:MOST_PATHS]
    # A word with a wildcard stands for paths that are not listed.
    line = read_command(command)
    expanded = any(not WILDCARDS.isdisjoint(word.pattern) for word in line.commands[0])
    # Complete only if every named file became a known path: a path that cannot be read may be any
    # path.
    return Reach(known, complete=len(known) == len(files) and not expanded)


def _mentioned_paths(command: str, working_directory: str) -> Iterator[ReachedPath]:
    """Yield the words of a command with the spelling of paths, up to MOST_PATHS of them."""
    count = 0
    for words in read_command(command).commands:
        for word in words:
            path = plain_path(word.text, working_directory) if "/" in word.text else None
            if path is None or not WILDCARDS.isdisjoint(word.pattern):
                continue
            count += 1
            if count > MOST_PATHS:
                return
            yield ReachedPath(path, writes=True)
