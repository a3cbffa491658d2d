"""Errors as Anthropic spells them: the one table of its types, for the gateway, the formats and the
SDK worker.

The type follows the status alone, so that the two cannot disagree. Inside a stream, where no status
came along, the type stands for it.
"""

from __future__ import annotations

from shared.formats.fields import error_text
from shared.formats.ir import SPEND_LIMIT, Fail, Json

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    431: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# Types that follow our own word for the failure: Anthropic's gateways refuse so at a spend limit.
_TYPE_OF_CODE = {SPEND_LIMIT: "billing_error"}
# Reversed, so that of several statuses with one type the first in the table stands for it; two
# types have a better one.
_STATUSES = {kind: status for status, kind in reversed(ERROR_TYPES.items())} | {
    "timeout_error": 504,
    "overloaded_error": 529,
}


def error_type(status: int) -> str:
    """Return the error type for an HTTP status."""
    return ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def write_error(fail: Fail, *, request_id: str = "") -> Json:
    """The envelope, whole or as the data of an `error` event; `code` travels as
    `details.error_code`.
    """
    kind = _TYPE_OF_CODE.get(fail.code, error_type(fail.status))
    error: Json = {"type": kind, "message": fail.message}
    if fail.code and fail.code != kind and fail.code not in _TYPE_OF_CODE:
        error["details"] = {"error_code": fail.code}
    envelope: Json = {"type": "error", "error": error}
    return envelope | {"request_id": request_id} if request_id else envelope


def read_error(body: Json | str, status: int) -> Fail:
    """Return a refusal in the provider's own words; `status` is 0 for an error inside a stream."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        told = (error or body.get("message")) if isinstance(body, dict) else body
        return Fail(error_text(str(told or "")), status or 502)
    details = error.get("details")
    kind = str(error.get("type") or "")
    code = details.get("error_code") if isinstance(details, dict) else None
    return Fail(
        error_text(str(error.get("message") or "")),
        status or _STATUSES.get(kind, 502),
        str(code or kind),
    )
