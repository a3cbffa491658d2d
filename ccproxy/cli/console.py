"""The output for a person: our own sentences on stderr, the services' log on stdout.

On a terminal a JSON line becomes a readable one, and text from outside (paths, models, tool names,
error messages) is escaped: no log line moves the cursor or forges another line. Into a pipe the
services' bytes pass through, and supervisord's own lines become JSON. Nobody waits for the reader
of stdout: a paused terminal costs log lines (counted and said), never a service's time.

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
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ccproxy.cli.log_lines import DIM, RESET, permission_line, request_line
from ccproxy.cli.wrapping import wrapped_line
from shared.runtime.log import LogFormat
from shared.runtime.times import local_clock
from shared.runtime.visible_text import visible, visible_line

SUPERVISORD_LINE = re.compile(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} ([A-Z]{4}) (.*)")
ORDERLY_STOP = re.compile(
    rb"received SIG[A-Z]+ indicating exit request"
    rb"|stopped: \S+ \((exit status 0|terminated by SIGTERM)\)"
)
SUPERVISORD_LEVELS = {"CRIT": "critical", "ERRO": "error", "WARN": "warning"}
COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")  # ECMA-48 SGR, of the log format `rich`
WAITING_LINES = 10_000
CLOSING_SECONDS = 1.0
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
    """Write `sentence` to stderr, with hidden characters escaped; a terminal gets whole words in
    each row.
    """
    text = visible(sentence)
    if sys.stderr.isatty():
        columns = columns_of(sys.stderr.fileno())
        rows = [row for line in text.split("\n") for row in wrapped_line(line, columns)]
        text = "\n".join(rows)
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say_to_a_person(sentence: str) -> None:
    """Print the current activity of a command for a person at a terminal."""
    if sys.stderr.isatty():
        say(sentence)


def readable(line: bytes, url: str = "", columns: int = 80) -> bytes:
    """Return a JSON log line for people: `url` is the address of the stack, `columns` the width of
    the terminal. Any other line keeps colours, without further control sequences.

    The result is empty for supervisord's account of a stop that the owner asked for.
    """
    if _tells_of_orderly_stop(line):
        return b""
    try:
        facts = _facts(line)
        when = local_clock(str(facts.pop("timestamp")))
        level = str(facts.pop("level"))
        event = str(facts.pop("event"))
    except (ValueError, KeyError, AttributeError, TypeError):
        # Not a log line of ours: a traceback, or the words of a program that knows nothing of this
        # format.
        return _without_commands(line)
    try:
        # The two events that the owner waits for have lines of their own.
        if event == "request":
            return f"{request_line(facts, when, columns)}\n".encode()
        if event == "permission_asked":
            return f"{permission_line(facts, when, url, columns)}\n".encode()
    except (ValueError, KeyError, TypeError):
        # Facts of another shape, as of another program: shown like those of any other event.
        pass
    facts.pop("service", None)
    source = visible_line(str(facts.pop("instance", "")))
    trace = facts.pop("exception", None)
    colour = SERVICE_COLOURS[zlib.crc32(source.encode()) % len(SERVICE_COLOURS)]
    rest = " ".join(
        f"{DIM}{visible_line(key)}={RESET}{visible_line(str(value))}"
        for key, value in facts.items()
    )
    shown_event = f"{LEVEL_COLOURS.get(level, '')}{visible_line(event)}{RESET}"
    text = f"{DIM}{when}{RESET} {colour}{source:<18}{RESET} {shown_event} {rest}"
    return (text.rstrip() + "\n" + (f"{visible(str(trace))}\n" if trace else "")).encode()


def supervisord_as_json(line: bytes) -> bytes:
    """Return supervisord's own line as a line of JSON, empty for its account of a stop that the
    owner asked for. Any other line stays.
    """
    if _tells_of_orderly_stop(line):
        return b""
    if not SUPERVISORD_LINE.match(line):
        return line
    facts = _facts(line)
    utc = datetime.fromisoformat(facts["timestamp"]).astimezone(UTC).isoformat()
    facts |= {"timestamp": utc.replace("+00:00", "Z"), "service": "supervisord"}
    return json.dumps(facts).encode() + b"\n"


def _tells_of_orderly_stop(line: bytes) -> bool:
    said = SUPERVISORD_LINE.match(line)
    return said is not None and ORDERLY_STOP.fullmatch(said[3].strip()) is not None


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


def shape_of_log(out: int, style: LogFormat, url: str) -> Callable[[bytes], bytes]:
    """Return the function that shapes the log of the stack at `url` for the file descriptor `out`:
    lines for a person on a terminal, JSON elsewhere, as `style` says.
    """
    if os.isatty(out) and style != "json":
        # The width is asked for with every line: a window changes its size.
        return lambda line: readable(line, url, columns_of(out))
    if style in {"auto", "json"}:
        return supervisord_as_json
    return lambda line: line


def columns_of(out: int) -> int:
    """Return the width of the terminal at the file descriptor `out`, 80 if it tells none."""
    try:
        return os.get_terminal_size(out).columns or 80
    except OSError:
        return 80


class LogOutput:
    """A thread for writing lines to the file descriptor `out`, from a bounded queue. `shape` turns
    each line into the bytes to write.
    """

    def __init__(self, out: int, shape: Callable[[bytes], bytes]) -> None:
        # not sys.stdout: its lock, held by a blocked thread, would abort the interpreter's exit
        self._out = out
        self._shape = shape
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
            self._write(self._shape(line))

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a reader that left does not end the stack
            while data:
                data = data[os.write(self._out, data) :]
