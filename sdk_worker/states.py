"""The states of one attempt to run a turn, from the wait for a process to the tail."""

from __future__ import annotations

from typing import Literal

from shared.runtime.states import StateTable

AttemptState = Literal["queued", "placed", "begun", "whole", "ended", "refused", "broken off"]
AttemptEvent = Literal["process", "first frame", "last frame", "tail", "error"]

# The theory of a turn: what an error becomes depends on what the client has seen. Before the first
# frame the error is the whole answer and keeps its own status; the turn may then begin again in
# another process, as a new attempt. After the first frame the error is the last event of the
# stream. After the last frame the client has its whole answer, and an error can only mean that the
# session was not remembered: the tail follows all the same.
ATTEMPT: StateTable[AttemptState, AttemptEvent] = StateTable(
    thing="a turn",
    states={
        "queued": "The turn waits for a `claude` process: a spare, or the one of its session.",
        "placed": "A process has the turn, and has said nothing that the client sees.",
        "begun": "Frames of the answer have left.",
        "whole": "The last frame has left.",
        "ended": "The tail has left, with cost and limits.",
        "refused": "The turn failed before its first frame; the error has a status of its own.",
        "broken off": "The turn failed after its first frame; the error was its last event.",
    },
    events={
        "process": "A process is there for the turn.",
        "first frame": "The process has begun its answer.",
        "last frame": "The process has ended its answer.",
        "tail": "The worker sends the tail.",
        "error": "The process, its session or the worker cannot go on.",
    },
    steps={
        "queued": {"process": "placed", "error": "refused"},
        "placed": {"first frame": "begun", "error": "refused"},
        "begun": {"last frame": "whole", "error": "broken off"},
        "whole": {"tail": "ended"},
        "ended": {},
        "refused": {},
        "broken off": {},
    },
)
