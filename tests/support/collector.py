"""An OpenTelemetry collector on loopback: keeps the spans it is sent, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.support.loopback import LoopbackHandler, serving, url_of


@dataclass
class Told:
    """One span as it arrived; `service` is that of its process."""

    service: str
    span: trace_pb2.Span
    attributes: dict[str, Any]

    @property
    def failed(self) -> bool:
        return self.span.status.code == trace_pb2.Status.STATUS_CODE_ERROR


class Collector:
    """`with Collector() as collector`: `url` is its endpoint, `payload` every byte that came."""

    def __enter__(self) -> Self:
        self.payload, self.paths, self.spans = b"", set[str](), list[Told]()
        collector = self

        class Handler(LoopbackHandler):
            def do_POST(self) -> None:
                collector.keep(self.path, self.body())
                self.send_response(200)
                self.end_headers()

        self._serving = serving(Handler)
        self.url = url_of(self._serving.__enter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.__exit__(None, None, None)

    def keep(self, path: str, data: bytes) -> None:
        self.paths.add(path)
        self.payload += data
        for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
            service = plain(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [Told(service, span, plain(span.attributes)) for span in scope.spans]

    def one(self, name: str) -> Told:
        [found] = self.named(name)
        return found

    def named(self, name: str) -> list[Told]:
        """In the order of their beginning."""
        found = [told for told in self.spans if told.span.name == name]
        return sorted(found, key=lambda told: told.span.start_time_unix_nano)


def plain(attributes: Any) -> dict[str, Any]:
    found = {}
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        value = getattr(attribute.value, kind)
        found[attribute.key] = (
            [each.string_value for each in value.values] if kind == "array_value" else value
        )
    return found
