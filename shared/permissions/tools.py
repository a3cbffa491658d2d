"""The tools of Claude Code, and the fields of their input that say what a call touches.

A tool that is in no table here (an MCP tool, a tool of a later version) touches nobody knows what:
its calls are judged by its name alone, and a deny rule for a folder or a host may always cover
them.
"""

from __future__ import annotations

from typing import Any

QUESTION = "AskUserQuestion"
COMMAND_TOOL = "Bash"
URL_TOOL = "WebFetch"
# Any other field (a switched-off sandbox, say) makes the call another one than the author of a rule
# had in mind.
COMMAND_FIELDS = frozenset({"command", "description", "timeout", "run_in_background"})

# The tools whose whole reach is one path, with the field that holds the path.
FILE_READERS = {"Read": "file_path"}
FILE_WRITERS = {
    "Write": "file_path",
    "Edit": "file_path",
    "MultiEdit": "file_path",
    "NotebookEdit": "notebook_path",
}
PATH_FIELDS = FILE_READERS | FILE_WRITERS
# The tools that read below a folder (the working folder when the field is absent), with their
# patterns, which can name other places.
FOLDER_READERS = {"Grep": "path", "Glob": "path", "LS": "path"}
PATTERN_FIELDS = {"Grep": ("glob",), "Glob": ("pattern",), "LS": ()}
# The tools that touch neither a file nor a host by themselves.
TOUCH_NOTHING = frozenset(
    {"TodoWrite", "ExitPlanMode", "EnterPlanMode", "BashOutput", "KillShell", "KillBash", QUESTION}
)


def command_of(tool_name: str, given: dict[str, Any]) -> str | None:
    """Return the command line of a Bash call; None for another tool, or when the field is not a
    text.
    """
    command = given.get("command")
    return command if tool_name == COMMAND_TOOL and isinstance(command, str) else None
