"""The `PermissionRequest` hooks of Claude Code and Codex: what they send, and what they take as an
answer. Pure.

Both send nearly the same JSON, to an address (Claude Code) or on the standard input of a command
(Codex). An answer without a decision makes the agent ask in its own terminal.

Invariants: an answer says allow or deny and nothing else. It never carries a permission mode, a
rule, a folder or a setting, whatever the hook suggested, and it carries an input only if a person
has changed it. Whatever is not a decision of a person or a rule is no decision.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Literal

from shared.bus.channels import PermissionDecision, PermissionRequest
from shared.permissions.hook_fields import ADDED, PERMISSION_EVENT, tool_input
from shared.permissions.reach import MOST_PATHS, Reach, ReachedPath, spelled_reach
from shared.permissions.tools import PATH_FIELDS
from shared.runtime.errors import ClientError

NO_DECISION: dict[str, Any] = {}
DENIED = "This was not allowed."
MAX_NAME = 64  # characters of a name of a machine or a program
MAX_NOTICE_TEXT = 200  # characters of an agent's own words

NoticeKind = Literal["waits", "done"]
NOTICES: dict[str, NoticeKind] = {"Notification": "waits", "Stop": "done"}
# The events after which the agent waits for no answer any more: its tools have run, or its turn is
# over. Claude Code keeps the connection of a hook open when its user has allowed the call in the
# terminal, so nothing else tells of it.
ENDINGS = frozenset({"PostToolBatch", "Stop"})


@dataclass(frozen=True, slots=True)
class AgentProgram:
    """An agent with hooks. `name` is its name for people; `fixed_input`: a changed input is
    an error for the agent.
    """

    name: str
    fixed_input: bool = False


PROGRAMS = {
    "claude": AgentProgram("Claude Code"),
    "codex": AgentProgram("Codex", fixed_input=True),
}


@dataclass(frozen=True, slots=True)
class HookSender:
    """The sender of a hook: the caller of the hook's token, and the program and machine named by
    the hook.
    """

    caller: str
    program: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class HookNotice:
    """News of an agent: the agent waits for the user, or is done. `text` is the agent's own
    words.
    """

    kind: NoticeKind
    program: str
    machine: str
    folder: str
    session_id: str
    text: str = ""


def read_permission_hook(body: Any, sender: HookSender, links: dict[str, str]) -> PermissionRequest:
    """Return the permission request in the body of a hook.

    `links` are the real paths behind the links in the call, as the machine of the tool resolved
    them. Raises ClientError naming the misfit field.
    """
    fields = _fields(body)
    event = fields.get("hook_event_name")
    if event != PERMISSION_EVENT:
        raise ClientError(
            f"hook_event_name: {PERMISSION_EVENT} is answered here, not {event!r}; other events go "
            "to /hooks/notice."
        )
    tool_name = _text(fields, "tool_name")
    if not tool_name:
        raise ClientError("tool_name: expected the name of a tool.")
    given = tool_input(fields)
    folder = _text(fields, "cwd")
    program = _program(sender, fields)
    return PermissionRequest(
        str(uuid.uuid4()),
        tool_name,
        given,
        caller=sender.caller,
        session_id=_text(fields, "session_id"),
        working_directory=folder,
        asker=hook_asker(sender.caller, fields),
        reach=reported_reach(tool_name, given, folder, links),
        agent=_text(fields, "agent_type"),
        # The agent asks although its own rules are silent, so a built-in rule is not enough.
        insists=True,
        program=program.name,
        machine=sender.machine,
        asks_itself=True,
        fixed_input=program.fixed_input,
    )


def hook_answer(decision: PermissionDecision, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a hook. `asked` is the input of the permission request."""
    if decision.outcome == "allowed":
        ruling: dict[str, Any] = {"behavior": "allow"}
        changed = decision.updated_input
        if changed is not None and changed != asked:
            ruling["updatedInput"] = changed
        return _answer(ruling)
    if decision.outcome == "denied":
        return _answer({"behavior": "deny", "message": decision.message or DENIED})
    return NO_DECISION


def _answer(ruling: dict[str, Any]) -> dict[str, Any]:
    return {"hookSpecificOutput": {"hookEventName": PERMISSION_EVENT, "decision": ruling}}


def read_notice(body: Any, sender: HookSender) -> HookNotice | None:
    """Return the news in the body of a hook, or None for an event without news. Raises
    ClientError.
    """
    fields = _fields(body)
    kind = NOTICES.get(_text(fields, "hook_event_name"))
    if kind is None:
        return None
    # The last words of a turn may hold anything, and stay where they are. A notification's text is
    # made by the program for its user.
    text = _text(fields, "message") if kind == "waits" else ""
    return HookNotice(
        kind,
        _program(sender, fields).name,
        sender.machine,
        _text(fields, "cwd"),
        _text(fields, "session_id"),
        text[:MAX_NOTICE_TEXT],
    )


def ended_asker(body: Any, caller: str) -> str:
    """Return the asker that waits no longer after the event in `body`; an empty text for another
    event. Raises ClientError.
    """
    fields = _fields(body)
    ended = _text(fields, "hook_event_name") in ENDINGS
    return hook_asker(caller, fields) if ended else ""


def hook_asker(caller: str, fields: dict[str, Any]) -> str:
    """Return the name of an agent as an asker: a session of `caller`, or a subagent in it; an
    empty text without a session.
    """
    session = _text(fields, "session_id")
    return f"hook/{caller}/{session}/{_text(fields, 'agent_id')}" if session else ""


def reported_links(body: Any) -> dict[str, str]:
    """Return the links that `ccproxy hook` has added to the body. Raises ClientError."""
    added = _fields(body).get(ADDED)
    links = added.get("links") if isinstance(added, dict) else None
    if links is None:
        return {}
    if not isinstance(links, dict) or len(links) > MOST_PATHS:
        raise ClientError(f"{ADDED}.links: expected an object of at most {MOST_PATHS} paths.")
    if not all(isinstance(real, str) and real.startswith("/") for real in links.values()):
        raise ClientError(f"{ADDED}.links: expected absolute paths.")
    return links


def reported_reach(
    tool_name: str, given: dict[str, Any], folder: str, links: dict[str, str]
) -> Reach:
    """Return the reach of a call by the spelling of paths and by `links`, without a look at this
    machine.

    A rule has to cover every path of a reach, so a link adds a path and takes the path as spelled
    away from nobody: what a hook reports can only narrow what a rule allows.
    """
    reach = spelled_reach(tool_name, given, folder)
    spelled = {path.asked: path for path in reach.paths}
    for path in reach.paths:
        path.real = path.asked
    for asked, real in links.items():
        known = spelled.get(asked)
        writes = tool_name not in PATH_FIELDS if known is None else known.writes
        reach.paths.append(ReachedPath(asked, real, writes, below=bool(known and known.below)))
    return reach


def _program(sender: HookSender, fields: dict[str, Any]) -> AgentProgram:
    # Only Codex sends a `turn_id`; a hook that was written by hand names no program.
    name = sender.program or ("codex" if "turn_id" in fields else "")
    return PROGRAMS.get(name, AgentProgram(name))


def _fields(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ClientError("The body of a hook is a JSON object.")
    return body


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise ClientError(f"{name}: expected a text.")
    return value or ""
