"""Every exit code of every command, with sysexits.h's numbers where it has a word for it."""

from __future__ import annotations

DONE = 0
FAILED = 1
USAGE = 2
NOT_RUNNING = 3
UNAVAILABLE = 69
UNSTABLE = 70
TRY_LATER = 75
CONFIGURATION = 78
INTERRUPTED = 130

EXITS = {
    DONE: "done; for a question: all is well",
    FAILED: "not done, and the sentence on stderr says why; for a question: something is wrong",
    USAGE: "the command line cannot be understood",
    NOT_RUNNING: "no stack is running in this run directory, and the command needs one (systemd's "
    "own number for that)",
    UNAVAILABLE: "something the stack needs is taken or missing: the port",
    UNSTABLE: "a program of the stack could not be kept up",
    TRY_LATER: "`serve`: already running in this run directory; `auth`: a provider could not be "
    "asked",
    CONFIGURATION: "the configuration cannot be used; the sentence names setting, file and line",
    INTERRUPTED: "`auth`: ended by Ctrl-C",
}
