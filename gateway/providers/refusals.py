"""A refusal of the ChatGPT backend as every OpenAI client reads one: its own words and facts in the
public envelope.

A refusal comes as an envelope, as `{"detail": …}`, as a web page of a proxy before the backend, or
as an empty body. The facts a client needs for waiting (`retry-after`, the time of the reset) are
taken from wherever the refusal has them.
"""

from __future__ import annotations

import html
import math
import re
from json import JSONDecodeError
from typing import Any

from gateway.server.asgi import Headers
from shared.formats.fields import inner_object, text_in
from shared.formats.openai_errors import read_error, write_error
from shared.runtime.exact_json import dump_json, load_json
from shared.runtime.times import minute_in_utc

TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
TRY_AGAIN = re.compile(r"try again in ([0-9]{1,9}(?:\.[0-9]+)?) ?(ms|s)")
YEAR_3000 = 32_503_680_000  # UTC seconds
LONGEST_WAIT_SECONDS = 366 * 24 * 3600


def in_envelope(status: int, headers: Headers, body: bytes) -> tuple[Headers, bytes]:
    """Return headers and body of a refusal for the client, in OpenAI's envelope."""
    error = error_in(status, body)
    kept = [
        (name, value)
        for name, value in headers
        if name not in {b"content-type", b"content-encoding"}
    ]
    # The provider's own header is more exact than a time in its text.
    if status == 429 and not any(name == b"retry-after" for name, _ in kept):
        seconds = seconds_to_wait(error)
        kept += [(b"retry-after", str(seconds).encode())] if seconds else []
    return [*kept, (b"content-type", b"application/json")], dump_json({"error": error})


def error_in(status: int, body: bytes) -> dict[str, Any]:
    if body.lstrip()[:1] == b"<":
        said = page_title(body)
        found: Any = (
            f"The provider answered {status} with a web page{said}; something between here and it "
            "said no."
        )
    else:
        try:
            found = load_json(body)
        except JSONDecodeError:
            found = body.decode("utf-8", "replace")
    fail = read_error(found, status)
    if error := inner_object(found, "error"):
        # All fields of the provider's envelope stay; the fields that clients rely on are added.
        told = {"type": None, "param": None, "code": None} | error
        return with_reset(told | {"message": text_in(error, "message") or fail.message})
    written: dict[str, Any] = write_error(fail)["error"]
    return written


def page_title(page: bytes) -> str:
    title = TITLE.search(page)
    text = html.unescape(title[1].decode("utf-8", "replace")).strip()[:100] if title else ""
    return f" ({text})" if text else ""


def with_reset(error: dict[str, Any]) -> dict[str, Any]:
    """Return `error` with the reset of a limit in the message: in most formats a client shows only
    the message.
    """
    resets_at = number_in(error, "resets_at", YEAR_3000)
    if not resets_at:
        return error
    at = minute_in_utc(resets_at)
    return error | {"message": f"{str(error['message']).rstrip('.')}; it is reset at {at}."}


def number_in(error: dict[str, Any], name: str, most: float) -> float:
    """Return the number called `name`; 0 for any other type, and for a number outside of 0 to
    `most`.
    """
    value = error.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0
    return value if 0 < value <= most else 0


def seconds_to_wait(error: dict[str, Any]) -> int:
    """Return whole seconds, rounded up; 0 when the error names no time."""
    if left := number_in(error, "resets_in_seconds", LONGEST_WAIT_SECONDS):
        return max(1, math.ceil(left))
    if told := TRY_AGAIN.search(str(error.get("message"))):
        return max(1, math.ceil(float(told[1]) / (1000 if told[2] == "ms" else 1)))
    return 0


def parse_refusal_body(body: bytes) -> Any:
    """Return a refusal's body as JSON, or as text for a body written by a proxy."""
    try:
        return load_json(body)
    except JSONDecodeError:
        return body.decode("utf-8", "replace")
