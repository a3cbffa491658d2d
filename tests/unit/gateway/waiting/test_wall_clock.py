from __future__ import annotations

import time

from gateway.waiting.wall_clock import SystemClock


async def test_the_clock_of_the_machine_tells_the_time_of_day_and_pauses() -> None:
    clock = SystemClock()
    before = time.time()
    await clock.pause(0.01)
    assert before < clock.now() <= time.time()
