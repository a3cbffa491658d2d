"""The paths no tool may touch, whatever the rules and the people say.

Invariant: the built-in list can be made longer by `SECURITY__PROTECTED_PATHS`, never shorter.
"""

from __future__ import annotations

from pathlib import Path

from shared.channels import PermissionAsk
from shared.settings import Settings


class ProtectedPaths:
    """The protected paths of one installation."""

    @classmethod
    def of(cls, settings: Settings, start_folder: Path, home: Path) -> ProtectedPaths:
        """Return the protected paths for these settings. `start_folder` is where `ccproxy` was started."""
        del settings, start_folder, home
        return cls()

    def touched_by(self, request: PermissionAsk) -> str | None:
        """Return why the request is denied: the protected path it names; None when it names none."""
        del request
        return None

    def may_be_touched_by(self, request: PermissionAsk) -> str | None:
        """Return why no rule may allow the request: a protected path it may reach unseen; None when there is none."""
        del request
        return None

    def as_claude_rules(self) -> list[str]:
        """Return the list in the syntax of Claude Code's own `permissions.deny`."""
        return []
