"""Spans to a collector, by OTLP over HTTP. The only module that knows OpenTelemetry; see
`shared/runtime/tracing.py`.

They leave in batches from a thread of the library's own. A collector that is away costs spans,
never a request, and at the end of the process no more than a moment. What OTEL_TRACES_SAMPLER and
OTEL_EXPORTER_OTLP_HEADERS say is honoured.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.runtime.tracing import Attributes, Kind
from shared.runtime.version import VERSION

EXPORT_SECONDS = (
    3.0  # for one batch; as long as a collector that swallows everything may hold up the end
)
FLUSH_SECONDS = 1.0  # for what is left at the end
KINDS: dict[Kind, trace.SpanKind] = {
    "server": trace.SpanKind.SERVER,
    "client": trace.SpanKind.CLIENT,
}
PLACES = TraceContextTextMapPropagator()


class OtlpSpan:
    """A Span of `shared/runtime/tracing.py`."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        place = self._span.get_span_context()
        return f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"

    def end(self, name: str, attributes: Attributes, error: str = "") -> None:
        self._span.update_name(name)
        self._span.set_attributes(
            {key: value for key, value in attributes.items() if value is not None}
        )
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()


class OtlpTracer:
    """A Tracer of `shared/runtime/tracing.py`."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def start(self, kind: Kind, parent: str | None) -> OtlpSpan:
        place = PLACES.extract({"traceparent": parent or ""})
        return OtlpSpan(self._tracer.start_span(kind, place, KINDS[kind]))


@asynccontextmanager
async def open_exporter(endpoint: str, service: str, instance: str) -> AsyncIterator[OtlpTracer]:
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces", timeout=EXPORT_SECONDS)
    named = {
        "service.name": f"ccproxy-{service}",
        "service.version": VERSION,
        "service.instance.id": instance,
    }
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield OtlpTracer(provider.get_tracer("ccproxy", VERSION))
    finally:
        # The library's shutdown blocks until its last export ends, so it runs in a thread with a
        # limit.
        ending = asyncio.create_task(asyncio.to_thread(provider.shutdown))
        _, unfinished = await asyncio.wait([ending], timeout=FLUSH_SECONDS)
        if unfinished:
            exporter.shutdown()  # type: ignore[no-untyped-call]  # ends its waiting for a collector that is away
        await ending
