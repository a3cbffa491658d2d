"""No rule and no person opens a protected path."""

from __future__ import annotations

from pathlib import Path

from shared.channels import PermissionAsk
from shared.permissions.protected import ProtectedPaths
from shared.settings import Settings


def test_a_call_that_touches_nothing_is_left_alone() -> None:
    protected = ProtectedPaths.of(Settings(), Path("/srv/start"), Path("/srv/me"))
    assert protected.touched_by(PermissionAsk("p1", "TodoWrite", {})) is None
