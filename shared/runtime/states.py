"""State machines as tables: state × event → state.

A table lists every step that one kind of thing can take. The thing keeps its state and changes it
through `StateTable.advance` alone, so a step that the table does not list is an error of the
program at the place where it happens, and no wrong state that shows much later. docs/states.md is
made from the same tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

State = TypeVar("State", bound=str)
Event = TypeVar("Event", bound=str)


class ImpossibleStep(Exception):
    """A state met an event that its table does not list: an error of the program."""


@dataclass(frozen=True, slots=True)
class StateTable(Generic[State, Event]):
    """The states and events of a kind of thing, with meanings, and the steps between states.

    `steps` has a row for every state; the row of a last state is empty. The first state of `states`
    is the state at the beginning.
    """

    thing: str
    states: Mapping[State, str]
    events: Mapping[Event, str]
    steps: Mapping[State, Mapping[Event, State]]

    def advance(self, state: State, event: Event) -> State:
        """Return the state after `event`. Raises ImpossibleStep."""
        try:
            return self.steps[state][event]
        except KeyError:
            raise ImpossibleStep(f"{self.thing}: {event!r} cannot happen in {state!r}.") from None

    @property
    def beginning(self) -> State:
        return next(iter(self.states))

    @property
    def last_states(self) -> frozenset[State]:
        """Return the states that no event leads out of."""
        return frozenset(state for state, row in self.steps.items() if not row)
