"""Attempts repeat what may succeed later, and give up what cannot."""

from __future__ import annotations

import pytest

from permission_service.notify.attempts import PAUSES, SendAttempts
from permission_service.notify.posting import SendFailed
from shared.runtime.log import NAME
from shared.runtime.metrics import Metrics, PermissionMetrics


async def run(*failures: SendFailed, pauses: tuple[float, ...] = (0.0, 0.0)) -> tuple[int, bytes]:
    """Return the number of attempts and the counts, with `failures` before a success."""
    metrics = Metrics()
    left = list(failures)
    made = 0

    async def attempt() -> bool:
        nonlocal made
        made += 1
        if left:
            raise left.pop(0)
        return True

    await SendAttempts("ntfy", PermissionMetrics(metrics), pauses).until_sent("event", attempt)
    return made, metrics.snapshot()


async def test_a_success_after_failures_ends_the_attempts() -> None:
    made, counts = await run(SendFailed("HTTP 503"), SendFailed("no answer"))
    assert made == 3
    assert b'{outcome="sent",way="ntfy"} 1.0' in counts


async def test_a_final_refusal_is_not_repeated_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made, counts = await run(SendFailed("HTTP 403", answer="the topic of it", final=True))
    assert made == 1
    assert b'{outcome="given_up",way="ntfy"} 1.0' in counts
    (line,) = [record for record in caplog.records if record.name == NAME]
    assert line.levelname == "ERROR"
    assert line.__dict__["facts"]["problem"] == "HTTP 403"


async def test_the_pauses_grow_and_last_as_long_as_a_request_waits() -> None:
    assert list(PAUSES) == sorted(PAUSES)
    assert 300 <= sum(PAUSES) <= 310
