"""A state changes by the steps of its table alone, and the tables of the product are whole."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from gateway.proxy.states import ACTIVE_REQUEST
from permission_service.states import PERMISSION_REQUEST
from sdk_worker.states import ATTEMPT
from shared.bus.states import CALL, DELIVERY
from shared.runtime.states import ImpossibleStep, StateTable

Light = Literal["red", "green", "out"]
LIGHT: StateTable[Light, Literal["change", "fail"]] = StateTable(
    thing="a traffic light",
    states={"red": "Stop.", "green": "Go.", "out": "Look."},
    events={"change": "Time is over.", "fail": "No current."},
    steps={
        "red": {"change": "green", "fail": "out"},
        "green": {"change": "red", "fail": "out"},
        "out": {},
    },
)


def test_an_event_leads_to_the_state_of_the_table() -> None:
    assert LIGHT.advance("red", "change") == "green"
    assert (LIGHT.beginning, LIGHT.last_states) == ("red", {"out"})


def test_an_event_that_the_table_does_not_list_is_an_error_that_names_state_and_event() -> None:
    with pytest.raises(ImpossibleStep, match=r"a traffic light: 'change' cannot happen in 'out'\."):
        LIGHT.advance("out", "change")


def reachable(table: StateTable[Any, Any]) -> set[str]:
    found = set[str]()
    waiting = [table.beginning]
    while waiting:
        state = waiting.pop()
        if state not in found:
            found.add(state)
            waiting += table.steps[state].values()
    return found


TABLES = [LIGHT, CALL, DELIVERY, ACTIVE_REQUEST, ATTEMPT, PERMISSION_REQUEST]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.thing)
def test_every_state_of_a_table_is_reached_and_every_event_is_used(
    table: StateTable[Any, Any],
) -> None:
    assert reachable(table) == table.states.keys() == table.steps.keys()
    used = {event for row in table.steps.values() for event in row}
    assert used == table.events.keys()
