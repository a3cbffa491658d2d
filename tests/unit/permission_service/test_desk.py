"""In doubt the answer is no, and an answer is given once."""

from __future__ import annotations

import pytest

from permission_service.desk import Desk
from shared.channels import PermissionAsk
from shared.errors import NotFound


def test_with_nobody_there_a_tool_is_denied_at_once_and_told_why() -> None:
    desk = Desk()
    decision = desk.open(PermissionAsk("a", "Bash", {"command": "ls"}))
    assert (decision.request_id, decision.outcome) == ("a", "denied")
    assert "Nobody is there" in decision.message
    assert desk.pending() == []


def test_a_second_decision_is_refused() -> None:
    desk = Desk()
    desk.open(PermissionAsk("a", "Bash", {}))
    with pytest.raises(NotFound, match="'a'"):
        desk.decide("a", "allowed")


def test_a_decision_about_nothing_is_refused() -> None:
    with pytest.raises(NotFound):
        Desk().decide("never asked", "allowed")
