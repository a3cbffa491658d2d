"""Fair use of the permission service: what one caller may ask, and in which order people see it.

A permission request costs memory until a person has answered, and a person's attention. So each
caller has a share, the input has a size a person can be shown, and a request beyond either is
denied at once, in words that the model can act on. The sender checks size and bytes in flight, and
sends only an excerpt of a request beyond them, so that Redis never carries more; the permission
service counts the open requests and writes every denial to the permission log.

Invariants: a denied request is never kept as open, and no limit here ever allows a request.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from shared.bus.channels import PermissionRequest
from shared.runtime.exact_json import deeper_than, dump_json

T = TypeVar("T")

MAX_INPUT_BYTES = 256 * 1024  # more than a person reads; a file as long is better written in parts
MAX_INPUT_DEPTH = 64  # orjson writes at most 254 levels, and a tool's input has three or four
MAX_TEXT = 4096  # characters of a name, an id or a path (PATH_MAX of Linux)
TEXT_FIELDS = (
    "tool_name",
    "tool_use_id",
    "session_id",
    "working_directory",
    "asker",
    "program",
    "machine",
)
# What one caller may have on its way through one process: 16 requests of the largest size.
MAX_BYTES_IN_FLIGHT = 16 * MAX_INPUT_BYTES

NOT_ASKED = "Nobody was asked, so this was not allowed: "
TOO_LARGE = (
    NOT_ASKED
    + "the tool's input has {size:,} bytes, and a person is shown at most {limit:,}. Do it in "
    "smaller parts."
)
TOO_DEEP = NOT_ASKED + f"the tool's input is nested more than {MAX_INPUT_DEPTH} levels deep."
TOO_LONG = NOT_ASKED + f"{{name}} has {{size:,}} characters; at most {MAX_TEXT:,} are accepted."
TOO_MUCH_IN_FLIGHT = (
    NOT_ASKED + f"this caller's open requests would exceed {MAX_BYTES_IN_FLIGHT:,} bytes. "
    "Wait until some of them are answered."
)
TOO_MANY_OPEN = (
    NOT_ASKED
    + "this caller has {open} permission requests open already (SECURITY__MAX_OPEN_REQUESTS). "
    "Wait until some of them are answered."
)
SERVICE_FULL = (
    NOT_ASKED + "too many permission requests are open. Try again when some of them are answered."
)


def input_size(given: dict[str, Any]) -> int:
    """Return the bytes of `given` as JSON. `given` is at most MAX_INPUT_DEPTH levels deep."""
    return len(dump_json(given))


def size_in_flight(request: PermissionRequest) -> int:
    """Return the bytes of `request` counted against the caller during transport."""
    before = request.file_before
    text = before.text if before is not None and before.text is not None else ""
    return input_size(request.input) + len(text.encode())


def request_problem(request: PermissionRequest) -> str:
    """Return the reason for asking no person about `request`, in words for the model; an empty text
    if the size is fine.
    """
    if deeper_than(request.input, MAX_INPUT_DEPTH):
        return TOO_DEEP
    size = input_size(request.input)
    if size > MAX_INPUT_BYTES:
        return TOO_LARGE.format(size=size, limit=MAX_INPUT_BYTES)
    for name in TEXT_FIELDS:
        text = getattr(request, name)
        if len(text) > MAX_TEXT:
            return TOO_LONG.format(name=name, size=len(text))
    return ""


class InputsInFlight:
    """The bytes of inputs in transport, by caller of this process."""

    def __init__(self, limit: int = MAX_BYTES_IN_FLIGHT) -> None:
        self._limit = limit
        self._bytes: Counter[str] = Counter()

    @contextmanager
    def carried(self, caller: str, size: int) -> Iterator[bool]:
        """Count `size` bytes for `caller` while the context is open. Yield False, without a count,
        beyond the limit.
        """
        fits = self._bytes[caller] + size <= self._limit
        counted = size if fits else 0
        self._bytes[caller] += counted
        try:
            yield fits
        finally:
            self._bytes[caller] -= counted
            if not self._bytes[caller]:
                del self._bytes[caller]


def taking_turns(requests: Iterable[T], caller_of: Callable[[T], Hashable]) -> list[T]:
    """Return `requests` with the callers in turns: the callers' first requests, then their second
    requests, and so on.

    Callers, and the requests of one caller, keep the order in which they came.
    """
    waiting: defaultdict[Hashable, deque[T]] = defaultdict(deque)
    for request in requests:
        waiting[caller_of(request)].append(request)
    ordered = []
    while waiting:
        for caller in list(waiting):
            ordered.append(waiting[caller].popleft())
            if not waiting[caller]:
                del waiting[caller]
    return ordered
