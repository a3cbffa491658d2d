"""Allow rules that come from the permission syntax of Claude Code
(`CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS`).

An entry is taken only when a rule of ours covers the same or less. Rules do not go the other way:
the hook of `/sdk` sees every call, so a deny rule binds without Claude Code's own
(docs/decisions/0050-a-hook-sees-every-tool-call.md).

Claude Code writes an absolute path as `//path`, applies `Read(…)` to all its tools that read files,
and `Edit(…)` to all that edit them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from shared.permissions.rules import Rule, read_rule
from shared.permissions.tools import (
    COMMAND_TOOL,
    FILE_WRITERS,
    FOLDER_READERS,
    PATH_FIELDS,
    URL_TOOL,
)
from shared.runtime.errors import ClientError

SETTING = "CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS"
ENTRY = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*(?:__\*)?)(?:\((.*)\))?")
# Characters with a meaning in the patterns of Claude Code.
PATTERN_SYNTAX = frozenset("*?[]{}!()\\#")
READERS = ("Read", *FOLDER_READERS)
EDITORS = tuple(FILE_WRITERS)


class NotExpressible(Exception):
    """An entry of Claude Code that no rule of ours covers in the same or a narrower way. The text
    says why.
    """


def read_allowed_tools(entries: Iterable[str]) -> list[Rule]:
    """Return the entries of `CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS` as allow rules.

    Raises ClientError naming the first entry that cannot be expressed as a rule, and what to write
    instead.
    """
    found = []
    for entry in entries:
        try:
            found += [read_rule(shape) for shape in _shapes_of_entry(entry)]
        except (NotExpressible, ClientError) as error:
            why = error.message if isinstance(error, ClientError) else error
            raise ClientError(
                f"{SETTING}: {entry!r} cannot be a permission rule: {why}."
            ) from error
    return found


def split_entry(entry: str) -> tuple[str, str | None]:
    """Return the tool of an entry, and the condition; None for an entry for every call of the tool.
    Raises NotExpressible.
    """
    found = ENTRY.fullmatch(entry.strip())
    if found is None:
        raise NotExpressible("an entry is `Tool` or `Tool(what)`")
    tool: str = found.group(1)
    what: str | None = found.group(2)
    if re.fullmatch(r"mcp__[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*", tool):
        tool += "__*"  # all tools of one server
    return tool, None if what == "*" else what


def _shapes_of_entry(entry: str) -> list[dict[str, Any]]:
    tool, what = split_entry(entry)
    if what is not None and (tool in PATH_FIELDS or tool in FOLDER_READERS):
        folder = _read_path_pattern(what)
        tools = {"Read": READERS, "Edit": EDITORS}.get(tool, (tool,))
        return [{"tool": name, "under": folder} for name in tools]
    return [{"tool": tool, **read_condition(tool, what)}]


def read_condition(tool: str, what: str | None) -> dict[str, str]:
    """Return the condition of an entry without a path, as fields of a rule. Raises
    NotExpressible.
    """
    if what is None:
        return {}
    if tool == COMMAND_TOOL:
        return _read_command_pattern(what)
    if tool == URL_TOOL and what.startswith("domain:"):
        return {"host": what.removeprefix("domain:")}
    raise NotExpressible(
        f"{tool} takes no such condition here; name the tool alone, or answer its requests"
    )


def _read_command_pattern(what: str) -> dict[str, str]:
    for ending in (":*", " *"):
        if what.endswith(ending) and "*" not in what.removesuffix(ending):
            return {"command_prefix": what.removesuffix(ending)}
    if "*" in what:
        raise NotExpressible("a `*` may stand at the end only, as in `Bash(git status:*)`")
    return {"command": what}


def _read_path_pattern(what: str) -> str:
    folder = plain_pattern(what)
    if folder.startswith("//"):
        return folder[1:]
    if folder.startswith("~/"):
        return folder
    raise NotExpressible("write the path as `//absolute/folder/**` or `~/folder/**`")


def plain_pattern(what: str) -> str:
    """Return the path of a pattern without the final `/**`. Raises NotExpressible for any other
    wildcard.
    """
    path = what.removesuffix("/**")
    if PATTERN_SYNTAX & set(path):
        raise NotExpressible("of the wildcards only a final `/**` is understood")
    return path
