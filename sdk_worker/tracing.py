"""The span of one turn, as a part of the request's: what the gateway asked this worker to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.bus.channels import Turn
from shared.runtime.errors import CallerGone, CCProxyError
from shared.runtime.tracing import Tracer


@contextmanager
def turn_span(tracer: Tracer | None, turn: Turn) -> Iterator[dict[str, Any]]:
    """Open a span for `turn` and yield a dict of the span's attributes; `error` is the kind of the
    error at the end of the turn.
    """
    told: dict[str, Any] = {}
    if tracer is None:
        yield told
        return
    span = tracer.start("server", turn.traceparent)
    error = CallerGone.kind  # also for a turn that is cancelled
    try:
        yield told
        error = told.pop("error", "")
    except CCProxyError as failure:
        error = failure.kind
        raise
    finally:
        model = str(turn.body.get("model", ""))
        named = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "claude",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": model,
            "ccproxy.request_id": turn.request_id,
        }
        span.end("invoke_agent claude", named | told, error)
