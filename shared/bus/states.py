"""The states of a call on the bus, at its two ends: as its caller knows it, and as the server that
took it from the channel knows it. The names of events at the caller's end are the kinds of messages
on the wire, and Redis answers a claim with the name of a state at the server's end.
"""

from __future__ import annotations

from typing import Literal

from shared.runtime.states import StateTable

CallState = Literal["placed", "accepted", "orphaned", "ended", "failed", "left"]
CallEvent = Literal["accepted", "reply", "end", "error", "server lost", "fail", "leave"]

# The theory of a call: a caller waits for a server, then for the server's messages. It never waits
# for ever, because three things besides a message can happen to it: the server is lost, the bus
# fails (Redis was away, a message is missing, no server is there), or the reader leaves.
#
# The loss of a server ends a call of an `on_accept` channel ("fail": the work may have been done,
# and nothing runs twice). A call of a `when_done` channel is orphaned, and the next server that
# accepts it begins again with the first reply; a message that the lost server had sent before may
# still arrive in between, and counts. A server can also take a call over before its loss was
# noticed here, so `accepted` follows `accepted`.
#
# After a last state no message counts: a repeated message must not end a call a second time.
CALL: StateTable[CallState, CallEvent] = StateTable(
    thing="a call",
    states={
        "placed": "The call is on its way to its channel, or waits there for a server.",
        "accepted": "A server has the call. Its replies come in order, without a gap.",
        "orphaned": "The server is gone, and another one may take the call over.",
        "ended": "The last reply has arrived.",
        "failed": "An error has arrived, from the server or from the bus.",
        "left": "The reader left before the end. The server is told to stop.",
    },
    events={
        "accepted": "A server names itself as the holder of the call.",
        "reply": "A reply of the server.",
        "end": "The server's last message.",
        "error": "The server's last message, after a failure.",
        "server lost": "The server of the call is dead, and the call may run again.",
        "fail": "The bus cannot go on with the call.",
        "leave": "The reader leaves the block of the call.",
    },
    steps={
        "placed": {"accepted": "accepted", "fail": "failed", "leave": "left"},
        "accepted": {
            "accepted": "accepted",
            "reply": "accepted",
            "end": "ended",
            "error": "failed",
            "server lost": "orphaned",
            "fail": "failed",
            "leave": "left",
        },
        "orphaned": {
            "accepted": "accepted",
            "reply": "orphaned",
            "end": "ended",
            "error": "failed",
            "fail": "failed",
            "leave": "left",
        },
        "ended": {},
        "failed": {},
        "left": {},
    },
)

DeliveryState = Literal["held", "accepted", "abandoned", "taken", "settled"]
DeliveryEvent = Literal["accepted", "abandoned", "taken", "settle"]

# The theory of a delivery: several servers may hold a copy of one request (a slow server, its
# successor, the caller that withdraws it), and one of them gets it. For an `on_accept` channel
# Redis decides in one step (`CLAIM`), for a `when_done` channel the entry stays with whoever keeps
# it from the others. `accepted`, `abandoned` and `taken` are the three answers. A server that lost
# the race holds the delivery until it has settled it, like any other: only that frees the slot.
#
# A cancel of the caller is no step: it sets `caller_gone` in any state, and the handler that is
# thereby stopped settles the delivery. A delivery may be settled twice, by a closing bus and by its
# handler.
DELIVERY: StateTable[DeliveryState, DeliveryEvent] = StateTable(
    thing="a delivery",
    states={
        "held": "The entry was read from the channel, and takes a slot.",
        "accepted": "This server has the delivery, and the caller knows.",
        "abandoned": "This server has the delivery, and nobody waits for the answer.",
        "taken": "Another server has the delivery, or the caller has withdrawn the call.",
        "settled": "The server has nothing more to do, and the slot is free.",
    },
    events={
        "accepted": "The server has accepted the delivery.",
        "abandoned": "A message found no inbox: the caller is gone.",
        "taken": "Somebody else was quicker.",
        "settle": "The server lets the delivery go.",
    },
    steps={
        "held": {
            "accepted": "accepted",
            "abandoned": "abandoned",
            "taken": "taken",
            "settle": "settled",
        },
        "accepted": {"abandoned": "abandoned", "settle": "settled"},
        "abandoned": {"abandoned": "abandoned", "settle": "settled"},
        "taken": {"settle": "settled"},
        "settled": {"settle": "settled"},
    },
)
