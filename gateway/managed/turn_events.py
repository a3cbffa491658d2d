"""The events at the end of a session's turn: the counts of its request to the model, its error, and
the session's idle status.
"""

from __future__ import annotations

import contextlib

from gateway.managed.narration import EXHAUSTED, error_event, new_event
from shared.bus.channels import AccessRecord
from shared.formats.ir import Json
from shared.runtime.errors import (
    Busy,
    CCProxyError,
    QuotaReached,
    SpendLimitReached,
    UpstreamRefused,
)
from shared.runtime.exact_json import dump_json, load_json

# The vendor's errors of a session, by the type of the provider's error.
ERROR_TYPES = {
    "overloaded_error": "model_overloaded_error",
    "rate_limit_error": "model_rate_limited_error",
    "billing_error": "billing_error",
    "api_error": "model_request_failed_error",
    "authentication_error": "model_request_failed_error",
    "invalid_request_error": "model_request_failed_error",
    "not_found_error": "model_request_failed_error",
    "permission_error": "model_request_failed_error",
    "timeout_error": "model_request_failed_error",
}


def refusal_of(error: Json) -> UpstreamRefused:
    """Return the provider's error of an `error` frame."""
    body = dump_json({"type": "error", "error": error})
    return UpstreamRefused(str(error.get("message") or "The turn failed."), status=502, body=body)


def failure_events(failure: CCProxyError) -> list[Json]:
    """Return the events of a failed turn: the error, then the session's idle status."""
    kind = "unknown_error"
    if isinstance(failure, UpstreamRefused) and failure.body:
        with contextlib.suppress(ValueError, AttributeError):
            told = load_json(failure.body).get("error", {}).get("type")
            kind = ERROR_TYPES.get(told, "model_request_failed_error")
    elif isinstance(failure, Busy | QuotaReached | SpendLimitReached):
        kind = "model_rate_limited_error"
    return [
        error_event(kind, failure.message, EXHAUSTED),
        idle_event({"type": "retries_exhausted"}),
    ]


def idle_event(reason: Json, details: Json | None = None) -> Json:
    return new_event("session.status_idle", stop_reason=reason, stop_details=details)


def end_of_span(span: str, record: AccessRecord, *, is_error: bool) -> Json:
    """Return the closing event of the turn's request to the model, with the tokens of the turn."""
    usage = {
        "cache_creation_input_tokens": record.cache_write_tokens,
        "cache_read_input_tokens": record.cache_read_tokens,
        "input_tokens": record.tokens_input,
        "output_tokens": record.tokens_output,
    }
    return new_event(
        "span.model_request_end",
        model_request_start_id=span,
        is_error=is_error,
        model_usage=usage,
    )


def late_result_event(result: Json) -> Json:
    """Return the event of a result that has no effect, because its call has ended meanwhile."""
    use_id = result["custom_tool_use_id"]
    return error_event(
        "unknown_error",
        f"The result for {use_id} came too late: its call did not wait any more.",
        EXHAUSTED,
    )
