"""The rule that a person most likely means by "and the like", for one permission request.

A suggestion is never wider than what the person read: a prefix only for programs known to do one
harmless kind of thing, a folder for those that touch only the files they name, and the exact
command for every other program.
"""

from __future__ import annotations

import os
import shlex

from shared.bus.channels import PermissionRequest
from shared.permissions.commands import named_files, simple_command
from shared.permissions.programs import HARMLESS_PROGRAMS, REPORTING_SUBCOMMANDS
from shared.permissions.reach import ReachedPath
from shared.permissions.rules import reach_as_sent
from shared.permissions.tools import (
    COMMAND_FIELDS,
    COMMAND_TOOL,
    FOLDER_READERS,
    PATH_FIELDS,
    QUESTION,
    URL_TOOL,
    command_of,
)


def suggest(request: PermissionRequest) -> dict[str, str] | None:
    """Return the fields of a rule for requests like `request`; None if no rule is safe
    to suggest.
    """
    tool = request.tool_name
    if tool == QUESTION:
        return None
    if tool == COMMAND_TOOL:
        return _suggested_command(request)
    reach = reach_as_sent(request)
    if tool in PATH_FIELDS or tool in FOLDER_READERS:
        folder = _common_folder(reach.paths) if reach.complete else None
        return {"tool": tool, "under": folder} if folder else None
    if tool == URL_TOOL:
        return {"tool": tool, "host": reach.hosts[0]} if reach.hosts else None
    return {"tool": tool}


def _suggested_command(request: PermissionRequest) -> dict[str, str] | None:
    command = command_of(COMMAND_TOOL, request.input) or ""
    words = simple_command(command)
    if words is None or set(request.input) - COMMAND_FIELDS:
        return None
    program = words[0]
    stripped = command.strip()
    # A blank behind a backslash belongs to the last word.
    exact = stripped if simple_command(stripped) == words else command
    exactly = {"tool": COMMAND_TOOL, "command": exact}
    if program in HARMLESS_PROGRAMS:
        return {"tool": COMMAND_TOOL, "command_prefix": program}
    if len(words) > 1 and words[1] in REPORTING_SUBCOMMANDS.get(program, ()):
        return {"tool": COMMAND_TOOL, "command_prefix": shlex.join(words[:2])}
    if named_files(words) is not None:
        reach = reach_as_sent(request)
        folder = _common_folder(reach.paths) if reach.complete else None
        if folder:
            return {"tool": COMMAND_TOOL, "command_prefix": program, "under": folder}
    return exactly


def _common_folder(paths: list[ReachedPath]) -> str | None:
    """Return the folder of all the paths; None when there is none but the root."""
    folders = [_folder_of(path) for path in paths]
    if not folders:
        return None
    folder = os.path.commonpath(folders)
    return None if folder == "/" else folder


def _folder_of(path: ReachedPath) -> str:
    known = path.real or path.asked
    return known if path.below else os.path.dirname(known)
