"""The allow rules that come with the service, and the allow rules that follow from the owner's
settings.

They are shown beside the owner's own rules, each under an id of its own. A built-in rule can be
removed and restored; a rule that follows from a setting goes with the setting. A deny rule or a
protected path beats them all, and they never answer a call that Claude Code insists on asking
about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.bus.channels import PermissionRequest
from shared.permissions.rules import reach_as_sent

BUILT_IN = "built in"
ACCEPT_EDITS_ORIGIN = "CLAUDE__CODE_OPTIONS__PERMISSION_MODE=acceptEdits"

# Tools of Claude Code that only keep the conversation in order. What a subagent does is decided
# call by call.
CONVERSATION_TOOLS = frozenset(
    {
        "Agent",
        "BashOutput",
        "CronList",
        "EnterPlanMode",
        "KillShell",
        "ReportFindings",
        "Task",
        "TaskCreate",
        "TaskGet",
        "TaskList",
        "TaskOutput",
        "TaskStop",
        "TaskUpdate",
        "TodoWrite",
        "ToolSearch",
    }
)


@dataclass(frozen=True, slots=True)
class BuiltInRule:
    """An allow rule outside the owner's file. `origin` names the source, for people."""

    id: str
    text: str
    origin: str
    covers: Callable[[PermissionRequest], bool]

    @property
    def removable(self) -> bool:
        return self.origin == BUILT_IN


def reads_inside(request: PermissionRequest) -> bool:
    """Return True when the call certainly only reads, and only inside the working folder."""
    return _stays_inside(request) and not any(path.writes for path in reach_as_sent(request).paths)


def edits_inside(request: PermissionRequest) -> bool:
    """Return True when the call certainly touches only files inside the working folder."""
    return _stays_inside(request)


def keeps_the_conversation(request: PermissionRequest) -> bool:
    return request.tool_name in CONVERSATION_TOOLS


def _stays_inside(request: PermissionRequest) -> bool:
    """Only a reach from the machine that runs the tool counts: another machine's links are not
    known here.
    """
    reach = request.reach
    folder = Path(request.working_directory)
    if reach is None or not reach.complete or reach.hosts or not folder.is_absolute():
        return False
    if request.tool_name in CONVERSATION_TOOLS or (not reach.paths and request.tool_name != "Bash"):
        return False
    return all(path.real and Path(path.real).is_relative_to(folder) for path in reach.paths)


READING = BuiltInRule(
    "rule_reading", "allow reading inside the working folder", BUILT_IN, reads_inside
)
CONVERSATION = BuiltInRule(
    "rule_conversation",
    "allow tools that only keep the conversation in order",
    BUILT_IN,
    keeps_the_conversation,
)
EDITING = BuiltInRule(
    "rule_editing",
    "allow reading and editing inside the working folder",
    ACCEPT_EDITS_ORIGIN,
    edits_inside,
)
