"""Spans, and the switch for spans. OpenTelemetry stands behind the spans, in
`shared/runtime/otlp.py`.

That is loaded only when OBSERVABILITY__OTLP_ENDPOINT names a collector: else nothing is imported,
and there is no tracer to ask. A span says who asked what model for how many tokens; never what was
said, nor with which credential.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Literal, Protocol

from shared.settings.problems import ConfigurationError
from shared.settings.tree import ObservabilitySettings

Kind = Literal["server", "client"]
Attributes = Mapping[str, str | int | float | list[str] | None]


class Span(Protocol):
    @property
    def traceparent(self) -> str:
        """Return the span as the parent of spans in other processes (W3C Trace Context)."""

    def end(self, name: str, attributes: Attributes, error: str = "") -> None:
        """End the span. `error` is a kind of failure, never the error's words. Attributes with the
        value None are left out.
        """


class Tracer(Protocol):
    def start(self, kind: Kind, parent: str | None) -> Span:
        """Begin a span below the traceparent `parent`; an unreadable `parent` begins a
        new trace.
        """


@asynccontextmanager
async def open_tracer(
    settings: ObservabilitySettings, *, service: str, instance: str
) -> AsyncIterator[Tracer | None]:
    """None when no traces are wanted. Raises ConfigurationError when they are, but the library is
    not installed.
    """
    if not (settings.enabled and settings.otlp_endpoint):
        yield None
        return
    try:
        otlp = import_module("shared.runtime.otlp")
    except ModuleNotFoundError:
        raise ConfigurationError(
            "OBSERVABILITY__OTLP_ENDPOINT needs OpenTelemetry: install CCProxy with its "
            "extra `otel`."
        ) from None
    async with otlp.open_exporter(settings.otlp_endpoint, service, instance) as tracer:
        yield tracer
