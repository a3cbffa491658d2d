"""The output for a person: our own sentences on stderr, the services' log on stdout.

On a terminal a JSON line becomes a readable one, and text from outside (paths, models, tool names,
error messages) is escaped: no log line moves the cursor or forges another line. Into a pipe the
bytes pass through. Nobody waits for the reader of stdout: a paused terminal costs log lines
(counted and said), never a service's time.

Together with ccproxy/cli/output.py this is the only way to a terminal; tests/test_architecture.py
holds it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import sys
import threading
import zlib
from typing import Any

from shared.runtime.visible_text import visible, visible_line

SUPERVISORD_LINE = re.compile(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} ([A-Z]{4}) (.*)")
SUPERVISORD_LEVELS = {"CRIT": "critical", "ERRO": "error", "WARN": "warning"}
COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")  # ECMA-48 SGR, of the log format `rich`
WAITING_LINES = 10_000
CLOSING_SECONDS = 1.0
DIM = "\033[2m"
RESET = "\033[0m"
LEVEL_COLOURS = {"error": "\033[31m", "critical": "\033[31m", "warning": "\033[33m"}
SERVICE_COLOURS = (
    "\033[36m",
    "\033[32m",
    "\033[35m",
    "\033[34m",
    "\033[96m",
    "\033[92m",
    "\033[95m",
    "\033[94m",
)


def say(sentence: str) -> None:
    """Write `sentence` to stderr, with hidden characters escaped."""
    sys.stderr.write(visible(sentence) + "\n")
    sys.stderr.flush()


def say_to_a_person(sentence: str) -> None:
    """Print the current activity of a command for a person at a terminal."""
    if sys.stderr.isatty():
        say(sentence)


def readable(line: bytes) -> bytes:
    """Return a JSON log line for people. Any other line keeps colours, without further control
    sequences.
    """
    try:
        facts = _facts(line)
        when = str(facts.pop("timestamp"))
        level = str(facts.pop("level"))
        event = str(facts.pop("event"))
    except (ValueError, KeyError, AttributeError, TypeError):
        # Not a log line of ours: a traceback, or the words of a program that knows nothing of this
        # format.
        return _without_commands(line)
    facts.pop("service", None)
    source = visible_line(str(facts.pop("instance", "")))
    trace = facts.pop("exception", None)
    colour = SERVICE_COLOURS[zlib.crc32(source.encode()) % len(SERVICE_COLOURS)]
    rest = " ".join(
        f"{DIM}{visible_line(key)}={RESET}{visible_line(str(value))}"
        for key, value in facts.items()
    )
    shown_event = f"{LEVEL_COLOURS.get(level, '')}{visible_line(event)}{RESET}"
    text = (
        f"{DIM}{visible_line(when[11:19])}{RESET} {colour}{source:<18}{RESET} {shown_event} {rest}"
    )
    return (text.rstrip() + "\n" + (f"{visible(str(trace))}\n" if trace else "")).encode()


def _without_commands(line: bytes) -> bytes:
    """Return `line` with escapes in place of hidden characters, but for the sequences that set a
    colour.
    """
    pieces = COLOUR.split(line.decode("utf-8", "replace"))  # plain text and colours in turn
    shown = [piece if place % 2 else visible(piece) for place, piece in enumerate(pieces)]
    return "".join(shown).encode()


def _facts(line: bytes) -> dict[str, Any]:
    """Return the fields of a log line. Raises ValueError if the line is neither JSON nor
    supervisord's own.
    """
    if said := SUPERVISORD_LINE.match(line):
        when, level, event = (part.decode("utf-8", "replace") for part in said.groups())
        level = SUPERVISORD_LEVELS.get(level, "info")
        return {"timestamp": when, "level": level, "event": event, "instance": "supervisord"}
    facts: dict[str, Any] = json.loads(line)
    return facts


class LogOutput:
    """A thread for writing lines to the file descriptor `out`, from a bounded queue."""

    def __init__(self, out: int, *, for_a_person: bool) -> None:
        # not sys.stdout: its lock, held by a blocked thread, would abort the interpreter's exit
        self._out = out
        self._for_a_person = for_a_person
        self._waiting: queue.Queue[bytes | None] = queue.Queue(WAITING_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, daemon=True)
        self._thread.start()

    def feed(self, line: bytes) -> None:
        """Never blocks."""
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            # Counted, and told by the writer with the next line that gets through.
            self._dropped += 1

    def close(self) -> None:
        """Write what waits, but not for longer than a second: the reader may have stopped reading
        for good.
        """
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=CLOSING_SECONDS)
        # The thread is a daemon: if its write is stuck, the process ends all the same.
        self._thread.join(CLOSING_SECONDS)

    def _write_all(self) -> None:
        while (line := self._waiting.get()) is not None:
            if self._dropped:
                dropped = self._dropped
                self._dropped = 0
                self._write(
                    f"ccproxy: {dropped} log lines were dropped: nobody read them.\n".encode()
                )
            self._write(readable(line) if self._for_a_person else line)

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a reader that left does not end the stack
            while data:
                data = data[os.write(self._out, data) :]
