"""One line per fact, from every process alike. Events are `snake_case` facts with key-values; secrets never enter.

`auto` writes colours to a terminal and JSON anywhere else. Configured once, in a process's entry point.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from shared.visible_text import visible, visible_line

LogFormat = Literal["auto", "json", "plain", "rich"]

Logger = structlog.stdlib.BoundLogger


def configure_log(*, level: str, style: LogFormat, service: str, instance: str) -> None:
    """Send structlog and the standard library's logging to stderr in one shape, bound to `service` and `instance`."""
    as_json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=style != "plain")
    )
    readable: list[Any] = [] if as_json else [escape_values]  # JSON escapes by itself
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, *readable, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *readable,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.getLevelNamesMapping()[level.upper()], logging.WARNING))
    structlog.contextvars.bind_contextvars(service=service, instance=instance)


def escape_values(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape hidden characters in `facts`, as a structlog processor. Only an exception keeps line
    ends.
    """
    for name, value in facts.items():
        if isinstance(value, str):
            facts[name] = visible(value) if name == "exception" else visible_line(value)
    return facts


def get_log() -> Logger:
    logger: Logger = structlog.get_logger()
    return logger
