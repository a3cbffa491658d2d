"""The spans of one request: the server's own, and one for each attempt at a provider, named by the
GenAI conventions.

The spans get the facts of the access record, once, at the end. A provider never learns of the
trace: its ids are the owner's business.
"""

from __future__ import annotations

from shared.bus.channels import AccessRecord
from shared.runtime.tracing import Attributes, Span, Tracer

VENDORS = {"claude": "anthropic", "sdk": "anthropic", "codex": "openai"}


class Trace:
    """The spans of a request. `Trace(None, …)` belongs to an untraced request and does nothing."""

    __slots__ = ("_asked", "_attempt", "_server", "_tracer")

    def __init__(self, tracer: Tracer | None, parent: bytes | None = None) -> None:
        self._tracer = tracer
        self._attempt: Span | None = None
        # The asked model; the record has the answering model from the answer on.
        self._asked = ""
        self._server = (
            tracer.start("server", parent.decode("latin-1") if parent else None) if tracer else None
        )

    def attempt(self, record: AccessRecord) -> str | None:
        """Begin an attempt at a provider, after a refusal of the attempt before; return the
        traceparent of the new attempt.
        """
        if self._tracer is None or self._server is None:
            return None
        if self._attempt is not None:
            self._attempt.end(*_named(record, self._asked), error="401")
        self._asked = record.model
        self._attempt = self._tracer.start("client", self._server.traceparent)
        return self._attempt.traceparent

    def close(self, record: AccessRecord) -> None:
        """End the spans with the facts of the complete record."""
        if self._server is None:
            return
        error = record.error_kind or (str(record.status_code) if record.status_code >= 500 else "")
        if self._attempt is not None:
            name, attributes = _named(record, self._asked)
            refused = str(record.status_code) if record.status_code >= 400 else ""
            self._attempt.end(name, {**attributes, **_usage(record)}, error or refused)
        self._server.end(f"{record.method} {record.endpoint}", _request(record), error)


UNTRACED = Trace(None)


def _request(record: AccessRecord) -> Attributes:
    return {
        "http.request.method": record.method,
        "http.route": record.endpoint,
        "url.path": record.path,
        "http.response.status_code": record.status_code,
        "user_agent.original": record.user_agent or None,
        "ccproxy.request_id": record.request_id,
        "ccproxy.caller": record.caller or None,
    }


def _named(record: AccessRecord, asked: str) -> tuple[str, Attributes]:
    vendor = VENDORS.get(record.provider, record.provider)
    return f"chat {asked}", {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": vendor,
        "gen_ai.system": vendor,  # its name before version 1.37 of the conventions
        "gen_ai.request.model": asked,
        "gen_ai.response.model": record.model,
        "gen_ai.conversation.id": record.session_id or None,
    }


def _usage(record: AccessRecord) -> Attributes:
    """Return the usage as attributes. By the conventions, tokens read from a cache or written into
    a cache are input too.
    """
    read = record.cache_read_tokens
    written = record.cache_write_tokens
    return {
        "gen_ai.usage.input_tokens": record.tokens_input + read + written,
        "gen_ai.usage.output_tokens": record.tokens_output,
        "gen_ai.usage.cache_read.input_tokens": read,
        "gen_ai.usage.cache_creation.input_tokens": written,
        "gen_ai.response.finish_reasons": [record.stop_reason] if record.stop_reason else None,
        "ccproxy.billed_to": record.billed_to,
        "ccproxy.first_byte_ms": record.first_byte_ms,
        "ccproxy.upstream_request_id": record.upstream_request_id or None,
    }
