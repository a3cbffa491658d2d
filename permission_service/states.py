"""The states of a permission request."""

from __future__ import annotations

from typing import Literal

from shared.runtime.states import StateTable

RequestState = Literal["pending", "allowed", "denied", "expired", "cancelled", "undecided"]
RequestEvent = Literal["allow", "deny", "expire", "withdraw", "hand back"]

# The theory of a permission request: it is decided once. A person, a rule, the clock and the asker
# compete for the one step out of `pending`, and the changes of the service stand in one order
# (`changes`), so one of them is first. Every end but `allowed` keeps the tool from acting, unless
# the agent asks a person itself (`undecided`). A request that no person is asked about takes its
# step in the moment in which it is made.
PERMISSION_REQUEST: StateTable[RequestState, RequestEvent] = StateTable(
    thing="a permission request",
    states={
        "pending": "A person, or a rule that is made meanwhile, can decide.",
        "allowed": "The tool may act.",
        "denied": "The tool may not act; the message says why.",
        "expired": "Nobody answered in time. The tool may not act.",
        "cancelled": "The asker is gone, or has withdrawn the request.",
        "undecided": "The agent asks in its own terminal.",
    },
    events={
        "allow": "A person or a rule allows.",
        "deny": "A person, a rule, a protected path or a limit denies.",
        "expire": "The time for an answer is over.",
        "withdraw": "The asker withdraws, leaves, or does not come back after a restart.",
        "hand back": "Nobody is to be waited for, and the agent can ask in its own terminal.",
    },
    steps={
        "pending": {
            "allow": "allowed",
            "deny": "denied",
            "expire": "expired",
            "withdraw": "cancelled",
            "hand back": "undecided",
        },
        "allowed": {},
        "denied": {},
        "expired": {},
        "cancelled": {},
        "undecided": {},
    },
)
