"""A mark is written before a message that people read, and after one whose receiver knows ids."""

from __future__ import annotations

import pytest

from permission_service.notify.marked import send_marked
from permission_service.notify.messages import Notification
from permission_service.notify.posting import SendFailed
from permission_service.notify.ways import Way
from tests.unit.permission_service.notify.test_notifier import MemoryWay

MESSAGE = Notification("alert-1", "alert", "title", "text", 1.0)


async def steps(way: MemoryWay) -> list[str]:
    """Return what happened, in order."""
    done: list[str] = []

    async def mark(sent: bool) -> None:
        done.append(f"{'marked' if sent else 'unmarked'} after {len(way.sent)} messages")

    sending: Way = way
    try:
        await send_marked(sending, MESSAGE, None, mark)
    except SendFailed:
        done.append("failed")
    return done


@pytest.mark.parametrize(
    ("marked_first", "failures", "expected"),
    [
        (True, 0, ["marked after 0 messages"]),
        (True, 1, ["marked after 0 messages", "unmarked after 0 messages", "failed"]),
        (False, 0, ["marked after 1 messages"]),
        (False, 1, ["failed"]),
    ],
)
async def test_a_mark_stands_where_its_way_wants_it(
    marked_first: bool, failures: int, expected: list[str]
) -> None:
    refusals = [SendFailed("HTTP 500")] * failures
    assert await steps(MemoryWay("ntfy", *refusals, marked_first=marked_first)) == expected
