"""A refusal, in one of the three ways these services refuse: OpenAI's envelope, the backend's
`detail`, a web page.

Sources: reports in the trackers of openai/codex and of its gateways; words that no report quotes
are marked in place.
"""

from __future__ import annotations

from typing import Any, NoReturn

import orjson

JSON = {"content-type": "application/json"}
CHALLENGE = b"""<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title></head><body>
<noscript>Enable JavaScript and cookies to continue</noscript></body></html>"""


class CodexProblem(Exception):
    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        super().__init__(body.decode())
        self.status = status
        self.body = body
        self.headers = headers


def detail(text: str, status: int = 400) -> CodexProblem:
    """Return a refusal of the backend's front, sent before the request reaches a model."""
    return CodexProblem(status, orjson.dumps({"detail": text}), JSON)


def backend_error(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    param: str | None = None,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> CodexProblem:
    shape = {"message": message, "type": kind, "param": param, "code": code} | more
    return CodexProblem(status, orjson.dumps({"error": shape}), JSON | (headers or {}))


def challenge() -> CodexProblem:
    """Return the page served to a program suspected to be a robot."""
    return CodexProblem(
        403, CHALLENGE, {"content-type": "text/html; charset=UTF-8", "cf-mitigated": "challenge"}
    )


def refuse_parameter(message: str, param: str | None = None, code: str | None = None) -> NoReturn:
    raise backend_error(400, message, param=param, code=code)
