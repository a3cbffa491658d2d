"""A refusal in Anthropic's envelope: the status decides `error.type`."""

from __future__ import annotations

from typing import NoReturn

import orjson

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class AnthropicProblem(Exception):
    """`exhausts`: a rate limit that says so has used up what its caller has."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: dict[str, str] | None = None,
        code: str = "",
        exhausts: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
        self.code = code
        self.exhausts = exhausts

    def envelope(self, request_id: str) -> bytes:
        error: dict[str, object] = {"type": ERROR_TYPES[self.status], "message": self.message}
        if self.code:
            error["details"] = {"error_code": self.code}
        return orjson.dumps({"type": "error", "error": error, "request_id": request_id})


def refuse(message: str) -> NoReturn:
    raise AnthropicProblem(400, message)
