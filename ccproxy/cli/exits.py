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
NOT_FOUND = 127
INTERRUPTED = 130
KILLED = 128  # the shells' exit code of a program ended by signal N is 128 + N

EXITS = {
    DONE: "done; for a question: all is well",
    FAILED: "not done, and the sentence on stderr says why; for a question: something is wrong",
    USAGE: "the command line cannot be understood, or does not say which of several running stacks "
    "is meant",
    NOT_RUNNING: "no running stack was found, and the command needs one (systemd's own number for "
    "that)",
    UNAVAILABLE: "something the stack needs is taken or missing: the port",
    UNSTABLE: "a program of the stack could not be kept up",
    TRY_LATER: "`serve`: already running in this run directory; `auth`, `codex test`: a "
    "provider could not be asked",
    CONFIGURATION: "the configuration cannot be used; the sentence names setting, file and line",
    NOT_FOUND: "`run`: the program is not there; every other code of `run` is the program's own",
    INTERRUPTED: "`auth`: ended by Ctrl-C",
}
