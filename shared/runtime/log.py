"""One line per fact, from every process alike. Events are `snake_case` facts with key-values;
secrets never enter.

`auto` writes colours to a terminal and JSON anywhere else. Configured once, in a process's entry
point. The standard library's logging carries the facts, so that the lines of libraries have the
same shape.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from shared.runtime.visible_text import visible, visible_line

LogFormat = Literal["auto", "json", "plain", "rich"]

NAME = "ccproxy"  # our own logger; libraries speak under the root logger, from WARNING on
DIM = "\033[2m"
BOLD = "\033[1m"
RESET = "\033[0m"
LEVEL_COLOURS = {"warning": "\033[33m", "error": "\033[31m", "critical": "\033[31m"}
EVENT_WIDTH = 30


class Log:
    """The log of the process. Every method writes a single line: the event and the facts."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, **facts: Any) -> None:
        self._write(logging.DEBUG, event, facts)

    def info(self, event: str, **facts: Any) -> None:
        self._write(logging.INFO, event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        self._write(logging.WARNING, event, facts)

    def error(self, event: str, *, exc_info: BaseException | None = None, **facts: Any) -> None:
        """Write an error, with the traceback of `exc_info`."""
        self._write(logging.ERROR, event, facts, exc_info)

    def exception(self, event: str, **facts: Any) -> None:
        """Write an error, with the traceback of the exception that is being handled."""
        self._write(logging.ERROR, event, facts, sys.exception())

    def writes_info(self) -> bool:
        """Return True if `info` writes: facts that cost time need not be gathered otherwise."""
        return self._logger.isEnabledFor(logging.INFO)

    def _write(
        self, level: int, event: str, facts: dict[str, Any], error: BaseException | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, exc_info=error, extra={"facts": facts})


class LineFormatter(logging.Formatter):
    """Format a record as a single line, as JSON or for a person; only an exception takes more
    lines.
    """

    def __init__(self, *, as_json: bool, colours: bool, service: str, instance: str) -> None:
        super().__init__()
        self._as_json = as_json
        self._colours = colours
        self._source = {"service": service, "instance": instance}

    def format(self, record: logging.LogRecord) -> str:
        facts = dict(getattr(record, "facts", {}))
        head = {
            "event": record.getMessage(),
            **self._source,
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC)
            .isoformat()
            .replace("+00:00", "Z"),
        }
        trace = {"exception": self.formatException(record.exc_info)} if record.exc_info else {}
        if self._as_json:
            return json.dumps(facts | head | trace, default=repr)
        return self._for_a_person(head, facts, trace.get("exception"))

    def _for_a_person(self, head: dict[str, str], facts: dict[str, Any], trace: str | None) -> str:
        """Return a readable line, hidden characters escaped."""
        level = head["level"]
        told = {**facts, **self._source}
        rest = " ".join(
            f"{self._coloured(visible_line(key), DIM)}={visible_line(str(told[key]))}"
            for key in told
        )
        event = self._coloured(f"{visible_line(head['event']):<{EVENT_WIDTH}}", BOLD)
        shown_level = self._coloured(f"{level:<8}", LEVEL_COLOURS.get(level, ""))
        line = f"{self._coloured(head['timestamp'], DIM)} [{shown_level}] {event} {rest}"
        return f"{line}\n{visible(trace)}" if trace else line

    def _coloured(self, text: str, colour: str) -> str:
        return f"{colour}{text}{RESET}" if self._colours and colour else text


def configure_log(*, level: str, style: LogFormat, service: str, instance: str) -> None:
    """Send our facts and the standard library's logging to stderr in one shape, marked with
    `service` and `instance`.
    """
    as_json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        LineFormatter(
            as_json=as_json, colours=style != "plain", service=service, instance=instance
        ),
    )
    least = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(least, logging.WARNING))
    logging.getLogger(NAME).setLevel(least)


def get_log() -> Log:
    """Return the log of the process."""
    return Log(logging.getLogger(NAME))
