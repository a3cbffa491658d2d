"""A permission request is decided once, in the words that travel over the bus."""

from __future__ import annotations

from typing import get_args

from permission_service.states import PERMISSION_REQUEST
from shared.bus.channels import Outcome


def test_every_decision_is_a_last_state_of_the_same_name() -> None:
    assert PERMISSION_REQUEST.last_states == set(get_args(Outcome))


def test_each_event_leads_from_pending_to_its_own_end() -> None:
    assert len(set(PERMISSION_REQUEST.steps["pending"].values())) == len(PERMISSION_REQUEST.events)
