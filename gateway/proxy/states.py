"""The states of an active request of the gateway, from the first byte of its body to its end."""

from __future__ import annotations

from typing import Literal

from shared.runtime.states import StateTable

ActiveState = Literal[
    "reading",
    "writing",
    "waiting",
    "starting",
    "streaming",
    "sending own",
    "sending early",
    "sending",
    "done",
]
ActiveEvent = Literal["read", "write", "wait", "bytes", "event", "send", "sent", "close"]

# The theory of an active request: at every moment one side is waited for, and its silence has a
# limit. The client sends a body, or takes a piece of the answer; the provider takes a body, or
# makes the answer.
#
# A request whose body is read whole goes from `reading` to `waiting`. An upload that is passed on
# while it is read goes back and forth between `reading` and `writing`, and its provider may answer
# before the body has ended. Bytes that complete no event of a stream (`bytes`) leave the limit for
# the first event running, and the pings going. From the first event on (`event`) the limit for a
# silence in the middle counts.
#
# A piece may leave before the first event: a piece of our own while nothing has come from the
# provider, as a live response of a management route sends it, or a comment of the provider's in
# front of the first event. When the piece has left, the request is where it was; so there are three
# states of sending, and `SENDING` names them.
#
# An interrupt is no step: it is noted in any state, and the code that waits meets its reason. While
# the body is read, whoever reads it notices that the client has left; from `waiting` on the clock
# does.
ACTIVE_REQUEST: StateTable[ActiveState, ActiveEvent] = StateTable(
    thing="an active request",
    states={
        "reading": "The client sends the body.",
        "writing": "The provider takes a piece of a body that is passed on during the upload.",
        "waiting": "The provider has the request, and has sent nothing.",
        "starting": "The provider has sent bytes, and no whole event.",
        "streaming": "The answer has begun, and the provider makes the rest.",
        "sending own": "The client takes a piece; the provider has sent nothing.",
        "sending early": "The client takes a piece; the provider has sent no whole event.",
        "sending": "The client takes a piece of the answer.",
        "done": "The request has ended, in any way.",
    },
    events={
        "read": "The next piece of the body is wanted.",
        "write": "A piece of the body goes to the provider.",
        "wait": "The body is complete.",
        "bytes": "Bytes of the provider's, before the first whole event.",
        "event": "An event of a stream is complete, or a piece of a whole answer is there.",
        "send": "A piece goes to the client.",
        "sent": "The client has taken the piece.",
        "close": "The request ends.",
    },
    steps={
        "reading": {
            "read": "reading",
            "write": "writing",
            "wait": "waiting",
            "bytes": "starting",
            "event": "streaming",
            "close": "done",
        },
        "writing": {
            "read": "reading",
            "bytes": "starting",
            "event": "streaming",
            "close": "done",
        },
        "waiting": {
            "bytes": "starting",
            "event": "streaming",
            "send": "sending own",
            "close": "done",
        },
        "starting": {
            "bytes": "starting",
            "event": "streaming",
            "send": "sending early",
            "close": "done",
        },
        # Several streams one after the other may make one answer, each with a start of its own, and
        # an upload may go on behind an early answer.
        "streaming": {
            "read": "reading",
            "write": "writing",
            "wait": "waiting",
            "bytes": "starting",
            "event": "streaming",
            "send": "sending",
            "close": "done",
        },
        "sending own": {"sent": "waiting", "close": "done"},
        "sending early": {"sent": "starting", "close": "done"},
        "sending": {"sent": "streaming", "close": "done"},
        "done": {},
    },
)

SENDING: frozenset[ActiveState] = frozenset({"sending own", "sending early", "sending"})
