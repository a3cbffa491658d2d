"""Errors as every OpenAI interface spells them, the ChatGPT backend's shorter spelling included."""

from __future__ import annotations

from shared.formats.fields import error_text
from shared.formats.ir import SPEND_LIMIT, Fail, Json

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {
    401: "invalid_api_key",
    413: "request_too_large",
    429: "rate_limit_exceeded",
    500: "server_error",
}
_SPENT = "insufficient_quota"  # OpenAI's type and code for an account that has spent its limit
_OVERLOADED = frozenset({"server_is_overloaded", "slow_down", "engine_overloaded"})

# The codes of failures that arrive inside a stream, where no HTTP status tells them apart.
_STATUSES = {
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "invalid_request_error": 400,
    "invalid_encrypted_content": 400,
    "cyber_policy": 400,
    "token_expired": 401,
    "token_invalidated": 401,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "usage_limit_reached": 429,
    "usage_not_included": 429,
    **dict.fromkeys(_OVERLOADED, 503),
}


def error_code(fail: Fail) -> str | None:
    """The word clients act on: Codex gives up on a full context at once, and backs off from an
    overloaded server.
    """
    if "prompt is too long" in fail.message:  # Anthropic tells it in words only
        return "context_length_exceeded"
    if fail.code == SPEND_LIMIT:
        return _SPENT
    # What ends so is an error type, as Anthropic's codes are
    if fail.code and not fail.code.endswith("_error"):
        return fail.code
    if fail.status == 404 and "model" in fail.message:
        return "model_not_found"
    if fail.status in {503, 529}:
        return "server_is_overloaded"
    return _CODES.get(min(fail.status, 500))


def write_error(fail: Fail, *, request_id: str = "") -> Json:
    """The envelope; all four fields are always there, and the request id is not: OpenAI tells it in
    a header.
    """
    usual = "server_error" if fail.status >= 500 else "invalid_request_error"
    kind = _SPENT if fail.code == SPEND_LIMIT else _TYPES.get(fail.status, usual)
    return {
        "error": {
            "message": fail.message,
            "type": kind,
            "param": fail.param or None,
            "code": error_code(fail),
        }
    }


def read_error(body: Json | str, status: int) -> Fail:
    """Return the refusal in a body: OpenAI's envelope, the ChatGPT backend's `{"detail": …}`, or
    the text of a proxy in between.

    `status` 0 means that none came with it, as inside a stream; the code decides then.
    """
    error = (body.get("error") or body.get("detail") or body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return Fail(error_text("" if error is None else str(error)), status or 502)
    code = str(error.get("code") or error.get("type") or "")
    if not status:
        status = _STATUSES.get(code, 502)
    return Fail(
        error_text(str(error.get("message") or "")), status, code, str(error.get("param") or "")
    )
