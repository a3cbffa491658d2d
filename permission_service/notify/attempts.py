"""Attempts to send a message: repeated with growing pauses, few at once, given up loudly.

Invariant: nothing that a receiver does reaches the caller but the outcome, a line of the log and a
count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from permission_service.notify.posting import SendFailed
from shared.runtime.errors import BusUnavailable
from shared.runtime.log import get_log
from shared.runtime.metrics import PermissionMetrics

# Seconds before the second and each further attempt, 5 minutes in all: a request waits as long by
# default.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 120.0)
AT_ONCE = 4  # messages of one way that are being sent; the others wait
MAX_ON_THE_WAY = 100  # messages of one way that wait or are sent


class SendAttempts:
    """The attempts of one way, named `way`."""

    def __init__(
        self,
        way: str,
        metrics: PermissionMetrics,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._way = way
        self._metrics = metrics
        self._pauses = pauses
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._on_the_way = 0

    @property
    def has_room(self) -> bool:
        """Return True while the way takes another message."""
        return self._on_the_way < MAX_ON_THE_WAY

    def begin(
        self, tasks: asyncio.TaskGroup, event_id: str, attempt: Callable[[], Awaitable[bool]]
    ) -> None:
        """Start `until_sent` in `tasks`. The message takes room from now on."""
        # Counted here and not in the task, which runs later: a caller may begin many at once.
        self._on_the_way += 1
        tasks.create_task(self.until_sent(event_id, attempt)).add_done_callback(self._arrived)

    async def until_sent(self, event_id: str, attempt: Callable[[], Awaitable[bool]]) -> None:
        """Call `attempt` until success, or a failure for good. `attempt` returns False when the
        message is no longer wanted.
        """
        for pause in (*self._pauses, None):
            try:
                # The slot is free during the pause: a failing message holds up no other.
                async with self._slots:
                    wanted = await attempt()
            except (SendFailed, BusUnavailable) as error:
                problem = error.problem if isinstance(error, SendFailed) else error.message
                is_final = isinstance(error, SendFailed) and error.final
                if pause is None or is_final:
                    self._give_up(event_id, problem)
                    return
                self._count("retried")
                get_log().warning(
                    "notification_retried",
                    way=self._way,
                    event_id=event_id,
                    problem=problem,
                    in_seconds=pause,
                )
                await asyncio.sleep(pause)
            else:
                if wanted:
                    self._count("sent")
                return

    def drop(self, event_id: str) -> None:
        """Count and log a message dropped for lack of room."""
        self._count("dropped")
        get_log().error("notification_dropped", way=self._way, event_id=event_id)

    def _arrived(self, _: asyncio.Task[None]) -> None:
        self._on_the_way -= 1

    def _give_up(self, event_id: str, problem: str) -> None:
        self._count("given_up")
        get_log().error("notification_given_up", way=self._way, event_id=event_id, problem=problem)

    def _count(self, outcome: str) -> None:
        self._metrics.notifications.labels(self._way, outcome).inc()
