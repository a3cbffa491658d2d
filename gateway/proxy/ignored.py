"""The fields of a request that could not be carried: sent to the caller in `x-ccproxy-ignored`, and
kept in the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.server.asgi import Headers
from shared.bus.channels import AccessRecord

NAME = b"x-ccproxy-ignored"
MAX_LENGTH = 2000  # the caller chose the names; headers are limited
UNFIT = re.compile(r"[^\x21-\x7e]|,")


def note_ignored(record: AccessRecord, names: Iterable[str]) -> None:
    """Add the `names` of ignored fields to the record, every name once."""
    known = [name for name in record.ignored.split(",") if name]
    record.ignored = ",".join(dict.fromkeys([*known, *(UNFIT.sub("?", name) for name in names)]))[
        :MAX_LENGTH
    ]


def with_ignored(headers: Headers, record: AccessRecord) -> Headers:
    """Return `headers`, with an `x-ccproxy-ignored` header if fields were ignored."""
    kept = [(name, value) for name, value in headers if name != NAME]
    return [*kept, (NAME, record.ignored.encode())] if record.ignored else kept
