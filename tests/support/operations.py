"""The number of operations of a call, for tests of growth: a count is the same on every machine,
however busy it is.

An operation is an instruction of Python. What C does inside one (a lookup, a sort, a regular
expression) counts as one.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Operations:
    """The operations counted so far."""

    def __init__(self) -> None:
        self.count = 0

    def note(self, frame: FrameType, event: str, _: Any) -> Any:
        frame.f_trace_opcodes = True
        self.count += event == "opcode"
        return self.note


@contextmanager
def counted() -> Iterator[Operations]:
    """Count the operations of this thread inside the block."""
    before = sys.gettrace()
    operations = Operations()
    sys.settrace(operations.note)
    try:
        yield operations
    finally:
        sys.settrace(before)


def operations_of(call: Callable[[], object]) -> int:
    """Return the number of operations of `call`, which has run once before."""
    call()
    with counted() as operations:
        call()
    return operations.count


async def operations_of_awaited(call: Callable[[], Awaitable[object]]) -> int:
    """Return the number of operations of `call`, and of what else runs meanwhile."""
    await call()
    with counted() as operations:
        await call()
    return operations.count
