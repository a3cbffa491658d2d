"""The page of the states: each table that the code uses, drawn and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from docs.markup import code, page, table
from gateway.proxy.states import ACTIVE_REQUEST
from permission_service.states import PERMISSION_REQUEST
from sdk_worker.states import ATTEMPT
from shared.bus.states import CALL, DELIVERY
from shared.runtime.states import StateTable

# Each table of states with its title and the module that holds it.
STATE_TABLES: tuple[tuple[str, StateTable[Any, Any], str, str], ...] = (
    (
        "An active request of the gateway",
        ACTIVE_REQUEST,
        "gateway/proxy/states.py",
        (
            "One clock watches every active request. The state says whose silence the clock "
            "measures: the client's while it sends the body or takes a piece, else the provider's."
        ),
    ),
    (
        "A call on the bus, at its caller",
        CALL,
        "shared/bus/states.py",
        (
            "The first four events are the messages of the server; their names are the kinds of "
            "messages on the wire."
        ),
    ),
    (
        "A call on the bus, at its server",
        DELIVERY,
        "shared/bus/states.py",
        (
            "Of several holders of one delivery, one gets it. Redis decides in one step, and its "
            "script answers with `accepted`, `abandoned` or `taken`."
        ),
    ),
    (
        "A turn in a worker",
        ATTEMPT,
        "sdk_worker/states.py",
        (
            "The turn is what a call to `/sdk` carries. A turn that was refused because of an old "
            "login begins once more, in a new process."
        ),
    ),
    (
        "A permission request",
        PERMISSION_REQUEST,
        "permission_service/states.py",
        "The first decision stays. An answer that comes later is told who was first.",
    ),
)


def states() -> str:
    parts = [
        f"## {title}\n\n{text} The table is in `{module}`.\n\n{drawn(machine)}\n\n"
        f"{meanings(machine)}\n\n{steps_table(machine)}"
        for title, machine, module, text in STATE_TABLES
    ]
    return page(
        "States",
        "Four things outlive a single step of the program: a request, a call between processes, a "
        "turn, and a permission request. What can happen to each is a table of states, and the "
        "code changes the state through that table alone: a step that is not in the table is an "
        "error. The drawings and tables of this page are made from the tables of the code.",
        *parts,
    )


def drawn(machine: StateTable[Any, Any]) -> str:
    """Return the steps of `machine` as a Mermaid diagram, which also reads as a list of arrows."""
    names = {state: state.replace(" ", "_") for state in machine.states}
    lines = ["stateDiagram-v2", f"    [*] --> {names[machine.beginning]}"]
    for state, row in machine.steps.items():
        targets: dict[str, list[str]] = {}
        for event, target in row.items():
            targets.setdefault(target, []).append(event)
        lines += [
            f"    {names[state]} --> {names[target]}: {', '.join(events)}"
            for target, events in targets.items()
        ]
    lines += [f"    {names[state]} --> [*]" for state in machine.states if not machine.steps[state]]
    return "\n".join(["```mermaid", *lines, "```"])


def meanings(machine: StateTable[Any, Any]) -> str:
    states_table = table("state | meaning", _named(machine.states))
    events_table = table("event | meaning", _named(machine.events))
    return f"{states_table}\n\n{events_table}"


def _named(meanings_of: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, meaning in meanings_of.items():
        yield code(name), meaning


def steps_table(machine: StateTable[Any, Any]) -> str:
    """Return the steps of `machine`: a row for each state, a column for each event."""
    rows = [
        [code(state), *(code(machine.steps[state].get(event, "")) for event in machine.events)]
        for state in machine.states
        if machine.steps[state]
    ]
    return table(" | ".join(["in state", *machine.events]), rows)
