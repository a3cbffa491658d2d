"""A bundle: captured requests in one file of JSON, for a report of a fault. The simulator plays it.

The file is text, so that its owner can read it before it is given away. Secrets are removed once
more when it is made: the rules may have grown since the capture.

Invariant: `read_bundle(write_bundle(captures)) == captures` for captures without secrets.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from shared.captures.capture import (
    FORM,
    Capture,
    NotACapture,
    Part,
    capture_from_json,
    parts_as_json,
    summary_from_json,
)
from shared.captures.redaction import redact, redact_text
from shared.runtime.exact_json import load_json
from shared.runtime.version import VERSION

MOST_BYTES = 512 * 1024 * 1024  # of a bundle that is read
MARK = "ccproxy_bundle"


def write_bundle(captures: list[Capture]) -> bytes:
    """Return the bundle of `captures`, in the given order."""
    entries: list[dict[str, Any]] = []
    for capture in map(clean, captures):
        summary = {"capture": FORM, **dataclasses.asdict(capture.summary)}
        entries.append({"summary": summary, **parts_as_json(capture)})
    bundle = {MARK: 1, "made_by": VERSION, "captures": entries}
    return json.dumps(bundle, indent=1, ensure_ascii=True).encode() + b"\n"


def read_bundle(data: bytes) -> list[Capture]:
    """Return the captures in a bundle. Raises NotACapture."""
    if len(data) > MOST_BYTES:
        raise NotACapture(f"The bundle has more than {MOST_BYTES:,} bytes.")
    try:
        bundle = load_json(data)
    except json.JSONDecodeError as error:
        raise NotACapture("The file is no bundle of captured requests.") from error
    entries = bundle.get("captures") if isinstance(bundle, dict) else None
    if not isinstance(entries, list) or bundle.get(MARK) != 1:
        raise NotACapture("The file is no bundle of captured requests of this version.")
    return [
        capture_from_json(summary_from_json(entry.get("summary")), entry)
        for entry in entries
        if isinstance(entry, dict)
    ]


def clean(capture: Capture) -> Capture:
    """Return the capture without any secret found by today's rules."""
    found = Capture(
        dataclasses.replace(
            capture.summary,
            query=redact_text(capture.summary.query),
            error=redact_text(capture.summary.error),
        ),
        _clean(capture.request),
    )
    for name in ("sent", "answer", "reply"):
        part: Part | None = getattr(capture, name)
        setattr(found, name, None if part is None else _clean(part))
    return found


def _clean(part: Part) -> Part:
    is_stream = any(
        name == "content-type" and "event-stream" in value for name, value in part.headers
    )
    redacted = redact(part.body.encode(), is_stream=is_stream)
    return dataclasses.replace(
        part,
        headers=[[name, redact_text(value)] for name, value in part.headers],
        body=redacted.body.decode(),
        address=redact_text(part.address),
        chunks=[[redacted.moved(int(end)), milliseconds] for end, milliseconds in part.chunks],
    )
