"""What a tool call touches, as the machine that runs the tool sees it.

Links are followed on this machine: call `reach_of` only where the tool runs. The result travels with the permission
request, so that the permission service never judges by the links of another machine. A request without a reach is
judged by its spelling alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class ReachedPath:
    """One path of a tool call: `asked` is absolute and as it was written, `real` has every link resolved."""

    asked: str
    real: str
    writes: bool = False


@dataclass(slots=True)
class Reach:
    """Everything a tool call is known to touch. `complete` is False when the call may touch more than is listed."""

    paths: list[ReachedPath] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    complete: bool = False


def reach_of(tool_name: str, given: dict[str, Any], working_directory: str) -> Reach:
    """Return what the call of a tool with the input `given` touches, with the links of this machine resolved.

    `working_directory` is the folder in which relative paths start; an empty text when unknown.
    """
    del tool_name, given, working_directory
    return Reach()
