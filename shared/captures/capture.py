"""A captured request: what the client sent, what the provider got and answered, and what the client
got, all of it without secrets.

The file of a capture is one line of JSON with its summary, and the compressed rest: a list of
captures reads the first lines only. A body is text; a body that is no text is left out, with its
size. Parts with the same body share it.

Invariant: `read_capture(write_capture(capture)) == capture`.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from shared.runtime.errors import ClientError
from shared.runtime.exact_json import load_json

T = TypeVar("T")

FORM = 1  # of the files; another number is another form
MOST_BYTES = 256 * 1024 * 1024  # of an unpacked capture: four bodies of the largest size allowed


class NotACapture(ClientError):
    """The file is no capture, or one of a newer version."""


@dataclass(slots=True)
class Summary:
    """The facts of a captured request for a list. `at` is in UTC seconds since 1970; `switch` is
    the reason for the capture, and `repeats` the id of the original capture of a request sent
    again.
    """

    id: str
    at: float
    method: str = "POST"
    path: str = ""
    query: str = ""
    status: int = 0
    duration_ms: float = 0.0
    caller: str = ""
    session: str = ""
    model: str = ""
    asked_model: str = ""
    provider: str = ""
    client_format: str = ""
    client_program: str = ""
    streaming: bool = False
    error: str = ""
    switch: str = ""
    repeats: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    removed: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Part:
    """A message of the exchange. `address` is the provider's, in a message sent to the provider.
    `size` is the size of the whole body in bytes, `is_cut` is True for a body shortened here;
    `left_out` is the reason for a missing body.

    `chunks` are the ends of the pieces in which the body came, as bytes of the body here, each with
    the milliseconds since the first byte. `is_whole` is False for a message that broke off.
    """

    headers: list[list[str]] = field(default_factory=list)
    body: str = ""
    size: int = 0
    is_cut: bool = False
    left_out: str = ""
    status: int = 0
    method: str = ""
    address: str = ""
    chunks: list[list[float]] = field(default_factory=list)
    is_whole: bool = True


@dataclass(slots=True)
class Capture:
    """A captured request. `sent` and `answer` are None where no provider was asked, or none
    answered.
    """

    summary: Summary
    request: Part
    sent: Part | None = None
    answer: Part | None = None
    reply: Part | None = None


SUMMARY_FORM = TypeAdapter(Summary)
PART_FORM = TypeAdapter(Part)
PARTS = ("request", "sent", "answer", "reply")


def write_capture(capture: Capture) -> bytes:
    """Return the file of a capture."""
    head = json.dumps({"capture": FORM, **dataclasses.asdict(capture.summary)})
    return head.encode() + b"\n" + zlib.compress(json.dumps(parts_as_json(capture)).encode(), 6)


def parts_as_json(capture: Capture) -> dict[str, Any]:
    """Return the parts as JSON. A body repeated from an earlier part is replaced by that part's
    name.
    """
    written: dict[str, Any] = {}
    for name in PARTS:
        part: Part | None = getattr(capture, name)
        if part is None:
            continue
        written[name] = dataclasses.asdict(part)
        for other in PARTS[: PARTS.index(name)]:
            if other in written and part.body and written[other].get("body") == part.body:
                written[name] |= {"body": "", "body_of": other}
                break
    return written


def read_capture(data: bytes) -> Capture:
    """Return the capture in a file. Raises NotACapture."""
    head, _, packed = data.partition(b"\n")
    summary = read_summary(head)
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(packed, MOST_BYTES)
        if not unpacker.eof:
            raise NotACapture("The file of the capture is cut, or too large.")
        return capture_from_json(summary, load_json(text))
    except (zlib.error, ValueError) as error:
        raise NotACapture("The file of the capture is damaged.") from error


def read_summary(head: bytes) -> Summary:
    """Return the summary in the first line of a file. Raises NotACapture."""
    try:
        facts = load_json(head)
    except ValueError as error:
        raise NotACapture("The file is no capture.") from error
    return summary_from_json(facts)


def summary_from_json(facts: Any) -> Summary:
    """Return a summary. Raises NotACapture."""
    if not isinstance(facts, dict) or facts.get("capture") != FORM:
        raise NotACapture("This is no capture of this version.")
    return _checked(SUMMARY_FORM, facts)


def capture_from_json(summary: Summary, parts: Any) -> Capture:
    """Return the capture with `parts` in the form of `parts_as_json`. Raises NotACapture."""
    if not isinstance(parts, dict) or not isinstance(parts.get("request"), dict):
        raise NotACapture("The capture has no request.")
    read: dict[str, Part] = {}
    for name in PARTS:
        if name not in parts:
            continue
        part = _checked(PART_FORM, parts[name])
        if (other := parts[name].get("body_of")) in read:
            part.body = read[other].body
        read[name] = part
    return Capture(summary, **read)


def _checked(form: TypeAdapter[T], facts: Any) -> T:
    """Return `facts` as an object of the form. Raises NotACapture."""
    try:
        return form.validate_python(facts)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"])) or "all of it"
        raise NotACapture(f"The capture has another form ({place}).") from error
