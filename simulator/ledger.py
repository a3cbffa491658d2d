"""The ground truth for tests: what really arrived and what was really sent, bounded in number and
in bytes.
"""

from __future__ import annotations

import base64
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

MOST_RECORDS = 1_000
MOST_BYTES = 256 * 1024 * 1024
SMALL_BYTES = 128 * 1024  # this many records of this size are within the bound
KEPT_RESPONSE_BYTES = 1024 * 1024
SECRET_HEADERS = ("authorization", "x-api-key", "proxy-authorization", "cookie")
COUNTED = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)


@dataclass(slots=True)
class Record:
    """A request. `cancelled` means the client left before the reply was complete. `credential` is
    `login` or `api_key` for a request to a model, and empty for others.
    """

    method: str
    path: str
    headers: list[tuple[str, str]]
    id: int = 0
    body: bytes = b""
    status: int | None = None
    response: bytearray = field(default_factory=bytearray)
    response_bytes: int = 0
    model: str = ""
    credential: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    cancelled: bool = False
    started: float = field(default_factory=time.monotonic)
    finished: float | None = None
    counted: bool = False

    def note(self, data: bytes) -> None:
        self.response_bytes += len(data)
        # The beginning is kept, the rest only counted: a test of a large reply must not fill the
        # memory.
        self.response += data[: KEPT_RESPONSE_BYTES - len(self.response)]

    @property
    def size(self) -> int:
        return len(self.body) + len(self.response)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON. `body` is text when the bytes are UTF-8 (`body_encoding` says
        which).

        `ended_after_ms` is null for a request in progress.
        """
        try:
            body = self.body.decode()
            encoding = "utf-8"
        except UnicodeDecodeError:
            body = base64.b64encode(self.body).decode()
            encoding = "base64"
        ended = None if self.finished is None else round((self.finished - self.started) * 1000, 3)
        return {
            "id": self.id,
            "method": self.method,
            "path": self.path,
            "headers": [(name, mask(name, value)) for name, value in self.headers],
            "body": body,
            "body_encoding": encoding,
            "status": self.status,
            "response_base64": base64.b64encode(self.response).decode(),
            "response_bytes": self.response_bytes,
            "model": self.model,
            "credential": self.credential,
            "usage": self.usage,
            "cancelled": self.cancelled,
            "ended_after_ms": ended,
        }


def mask(name: str, value: str) -> str:
    """Return a credential as the scheme and the last four characters."""
    if name not in SECRET_HEADERS:
        return value
    scheme, space, secret = value.rpartition(" ")
    return f"{scheme}{space}…{secret[-4:]}"


class Ledger:
    """Records in order of arrival, and totals over all requests ended since the last `clear`."""

    def __init__(self) -> None:
        self._numbered = 0
        self.clear()

    def clear(self) -> None:
        self._records: deque[Record] = deque()
        self._statuses: Counter[str] = Counter()
        self._models: dict[str, Counter[str]] = {}
        self._credentials: dict[str, Counter[str]] = {}
        self._requests = self._cancelled = 0

    def open(self, record: Record) -> None:
        self._numbered += 1
        record.id = self._numbered
        self._records.append(record)

    def end(self, record: Record, *, cancelled: bool) -> None:
        record.cancelled = cancelled
        # A reply in order has noted its own end, at its last byte; this is for the others.
        record.finished = record.finished or time.monotonic()
        record.counted = True
        self._requests += 1
        self._cancelled += cancelled
        self._statuses[str(record.status)] += record.status is not None
        if record.model:
            counts = self._models.setdefault(record.model, Counter())
            counts["requests"] += 1
            counts.update({name: record.usage.get(name, 0) for name in COUNTED})
        if record.credential:
            billed = self._credentials.setdefault(record.credential, Counter())
            # A refused request costs its credential nothing.
            billed["answered" if (record.status or 500) < 400 else "refused"] += 1
            billed.update({name: record.usage.get(name, 0) for name in COUNTED})
        # Small records cannot pass the bound in bytes, however many there are, so the costly sum is
        # worked out only after a large one.
        while len(self._records) > MOST_RECORDS or (
            record.size > SMALL_BYTES and self._kept() > MOST_BYTES
        ):
            self._records.popleft()

    def _kept(self) -> int:
        return sum(record.size for record in self._records)

    @property
    def is_settled(self) -> bool:
        """Return True if every ended reply is counted."""
        return all(record.counted or record.finished is None for record in self._records)

    def requests(self) -> list[dict[str, Any]]:
        return [record.as_dict() for record in self._records]

    def totals(self) -> dict[str, Any]:
        return {
            "requests": self._requests,
            "cancelled": self._cancelled,
            "by_status": dict(self._statuses),
            "by_model": {model: dict(counts) for model, counts in self._models.items()},
            "by_credential": {
                credential: dict(counts) for credential, counts in self._credentials.items()
            },
        }
