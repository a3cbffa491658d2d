"""The presentation of a permission request to a person: a title, the asker, and the whole input in
labelled blocks. Pure.

Terminal, phone page and dashboard draw the same `Presentation`, so that what is approved is what
was seen.

Invariants: `present` never raises, whatever the input holds. Every field of the input is in some
block, except those that have their tool's default value. No character that a screen hides is left
in any text. The work is linear in the first SHOWN_CHARACTERS of each text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from permission_service.draft import SHOWN_CHARACTERS, TITLE_CHARACTERS, Draft, OddShape, line
from permission_service.edits import EDIT_TOOLS, add_path
from permission_service.lookalikes import host_in, punycode, url_warnings
from permission_service.questions import present_questions
from shared.bus.channels import PermissionRequest
from shared.permissions.deciders import BY_LOCAL
from shared.permissions.patches import PATCH_FIELD, PATCH_TOOL, patched_files
from shared.permissions.presented import LabelledText, Presentation, RememberChoice
from shared.permissions.tools import COMMAND_TOOL, QUESTION, URL_TOOL
from shared.runtime.visible_text import cut

MCP_PREFIX = "mcp__"
SUMMARY_CHARACTERS = 60


def present(request: PermissionRequest, suggestion: dict[str, str] | None) -> Presentation:
    """Return the presentation of `request`. `suggestion` is the possible new rule of an answer."""
    draft = Draft(request)
    try:
        TOOLS.get(request.tool_name, _present_any)(draft)
    except OddShape:
        draft = Draft(request)
        # From a new draft: the failed attempt may have taken fields out of `left` already, and they
        # must be shown.
        _present_any(draft)
        draft.warn(
            "The input does not have the shape that this tool takes, so it is shown as it is."
        )
    draft.add_rest()
    title = line(draft.title, TITLE_CHARACTERS)
    return Presentation(
        title,
        _summary(draft),
        _asker(request),
        draft.warnings,
        draft.blocks,
        draft.questions,
        remember_choices(request, suggestion),
        draft.complete,
    )


def _present_command(draft: Draft) -> None:
    command = draft.take_text("command")
    draft.title = "Run a command"
    if draft.take_flag("run_in_background"):
        draft.title += " in the background"
    if draft.take_flag("dangerouslyDisableSandbox"):
        draft.title += " outside the sandbox"
        draft.warn("The command would run outside the sandbox.")
    draft.warn(*url_warnings(command[:SHOWN_CHARACTERS]))
    draft.add_text("Command", command, "command")


def _present_read(draft: Draft) -> None:
    path = draft.take_text("file_path")
    draft.title = f"Read {draft.place(path)}"
    add_path(draft, path)


def _present_fetch(draft: Draft) -> None:
    url = draft.take_text("url")
    host = host_in(url)
    if not host:
        raise OddShape("url")
    draft.title = f"Fetch from {punycode(host)}"
    draft.warn(*url_warnings(url))
    draft.add_line("Address", url)
    if punycode(host) != host:
        draft.add_line("Host", punycode(host))
    if isinstance(draft.left.get("prompt"), str):
        draft.add_text("Claude looks there for", draft.take_text("prompt"))


def _present_web_search(draft: Draft) -> None:
    draft.title = "Search the web"
    draft.add_line("Words", draft.take_text("query"))


def _present_glob(draft: Draft) -> None:
    draft.title = "Search for files by name"
    draft.add_line("Names", draft.take_text("pattern"))
    _add_folder(draft)


def _present_grep(draft: Draft) -> None:
    draft.title = "Search in files"
    draft.add_line("Pattern", draft.take_text("pattern"))
    _add_folder(draft)


def _add_folder(draft: Draft) -> None:
    if "path" in draft.left:
        draft.add_line("Folder", draft.take_text("path"))


def _present_agent(draft: Draft) -> None:
    prompt = draft.take_text("prompt")
    draft.title = "Start another agent"
    draft.add_text("Its task", prompt)


def _present_patch(draft: Draft) -> None:
    files = patched_files(draft.request.input)
    if not files:
        raise OddShape("command")
    draft.title = f"Change {draft.place(files[0])}"
    if len(files) > 1:
        draft.title = f"Change {len(files)} files"
    draft.add_text("Patch", draft.take_text(PATCH_FIELD))


def _present_any(draft: Draft) -> None:
    """Present an unknown tool, or an input of unknown shape, as JSON."""
    name = draft.request.tool_name
    server, _, tool = name.removeprefix(MCP_PREFIX).partition("__")
    if name.startswith(MCP_PREFIX) and tool:
        draft.title = f"Use {tool} of the MCP server {server}"
    else:
        draft.title = f"Use {name}"


TOOLS: dict[str, Callable[[Draft], None]] = {
    COMMAND_TOOL: _present_command,
    QUESTION: present_questions,
    URL_TOOL: _present_fetch,
    "Read": _present_read,
    PATCH_TOOL: _present_patch,
    "WebSearch": _present_web_search,
    "Glob": _present_glob,
    "Grep": _present_grep,
    "Task": _present_agent,
    "Agent": _present_agent,
    **EDIT_TOOLS,
}


def _asker(request: PermissionRequest) -> list[LabelledText]:
    given = {
        "Agent": request.program,
        "Caller": request.caller or BY_LOCAL,
        "Machine": request.machine,
        "Session": request.session_id,
        "Folder": request.working_directory,
    }
    return [LabelledText(label, line(text)) for label, text in given.items() if text]


def _summary(draft: Draft) -> str:
    """Return a short line for a list of requests, as `Bash git status`."""
    given: dict[str, Any] = draft.request.input
    fields = (
        given.get(name)
        for name in ("command", "file_path", "notebook_path", "url", "query", "pattern")
    )
    text = next((value for value in fields if isinstance(value, str) and value), "")
    host = host_in(text) if text == given.get("url") else ""
    text = text.replace(host, punycode(host), 1) if host else text
    words = " ".join(f"{draft.request.tool_name} {text[: 4 * SUMMARY_CHARACTERS]}".split())
    return line(cut(words, SUMMARY_CHARACTERS))


def remember_choices(
    request: PermissionRequest, suggestion: dict[str, str] | None
) -> list[RememberChoice]:
    """Return the ways to remember an answer, with the exact scope of every new rule."""
    if not suggestion:
        return []
    what = _covered(suggestion)
    label = _short(suggestion)
    choices = [
        RememberChoice(
            "always", f"Always: {label}", f"From now on, for every caller, allow {what}."
        )
    ]
    if request.session_id:
        covers = f"For a day, in this session, allow {what}."
        choices.insert(0, RememberChoice("session", f"In this session: {label}", covers))
    return choices


def _covered(suggestion: dict[str, str]) -> str:
    """Return the exact scope of a suggested rule."""
    tool = line(suggestion["tool"])
    if "command" in suggestion:
        return f"exactly this command of {tool}: {line(suggestion['command'])}"
    if "command_prefix" in suggestion:
        prefix = line(suggestion["command_prefix"])
        if "under" in suggestion:
            return (
                f"the {tool} command “{prefix}” for files in {line(suggestion['under'])} and "
                "below, and no others"
            )
        return (
            f"every plain {tool} command that begins with the words “{prefix}”, whatever words "
            "follow"
        )
    if "under" in suggestion:
        return f"{tool} for every file in {line(suggestion['under'])} and in the folders below it"
    if "host" in suggestion:
        return f"{tool} of every address at the host {line(punycode(suggestion['host']))}"
    return f"every call of {tool}, whatever its input"


def _short(suggestion: dict[str, str]) -> str:
    """Return the scope of a suggested rule, in a few words for a button."""
    if "command" in suggestion:
        return "exactly this command"
    if "command_prefix" in suggestion:
        where = f" in {suggestion['under']}" if "under" in suggestion else ""
        return line(f"{suggestion['command_prefix']} …{where}", TITLE_CHARACTERS)
    if "under" in suggestion:
        return line(f"{suggestion['tool']} in {suggestion['under']}", TITLE_CHARACTERS)
    if "host" in suggestion:
        return line(punycode(suggestion["host"]), TITLE_CHARACTERS)
    return line(suggestion["tool"], TITLE_CHARACTERS)
