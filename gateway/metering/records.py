"""Access records on their way to analytics: added without waiting, published in batches by a task
of its own.

While the bus or analytics is away records wait in memory, then on disk; a record without room is
counted as lost.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence

from gateway.metering.spool import Spool
from shared.bus import Bus
from shared.bus.channels import ACCESS_RECORD, AccessRecord
from shared.bus.records import WATCHED_KEY, pack, pack_begun
from shared.runtime.background import end_task
from shared.runtime.errors import BusUnavailable
from shared.runtime.log import get_log
from shared.runtime.metrics import Metrics

MAX_WAITING_RECORDS = 10_000  # about 8 MB; then the oldest record is dropped and counted
MAX_BATCH = 256  # as the channel says
# Messages that analytics has not stored; further records wait on disk.
ENOUGH_WAITING = ACCESS_RECORD.max_length // 2
LOOK_SECONDS = 1.0
SPOOL_RECORDS = 1000  # fewer records wait in memory: Redis may be back soon
RETRY_SECONDS = 0.5
MAX_FINGERPRINT_BYTES = 128 * 1024  # in one message
GATHER_SECONDS = 0.05  # one message costs as much as two hundred records


class Records:
    """The access records of the process. `add` and `begin` return at once; a task publishes the
    records while open. With `read_prompts` the records get fingerprints of their prompts.
    """

    def __init__(
        self,
        bus: Bus,
        metrics: Metrics,
        spool: Spool | None = None,
        retry_seconds: float = RETRY_SECONDS,
        *,
        read_prompts: bool = False,
    ) -> None:
        self.read_prompts = read_prompts
        self._bus = bus
        self._metrics = metrics
        self._spool = spool
        self._retry_seconds = retry_seconds
        self._waiting: deque[AccessRecord] = deque()
        self._wake = asyncio.Event()
        self._looked = -math.inf
        self._watched = False
        self._begun: deque[AccessRecord] = deque(maxlen=MAX_BATCH)
        self._task: asyncio.Task[None] | None = None
        self.lost = 0

    def begin(self, record: AccessRecord) -> None:
        """Publish the start of a request, if the log is being watched."""
        self._begun.append(record)
        self._wake.set()

    def add(self, record: AccessRecord) -> None:
        if len(self._waiting) >= MAX_WAITING_RECORDS:
            self._waiting.popleft()
            self._count_lost(1)
        if len(self._waiting) >= SPOOL_RECORDS:
            record.fingerprint = ""  # a fingerprint may be larger than the rest of its record
        self._waiting.append(record)
        self._wake.set()

    async def __aenter__(self) -> Records:
        self._task = asyncio.create_task(self._publish_as_they_come())
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)
        try:
            # The cancelled task has put its batch back, so the queue is complete and in order.
            while self._waiting:
                await self._publish_batch()
        except BusUnavailable:
            await self._put_aside()
        # Records that are still in the queue found no room on disk either.
        self._count_lost(len(self._waiting))
        if self.lost:
            get_log().warning("access_records_lost", count=self.lost)

    async def _publish_as_they_come(self) -> None:
        self._wake.set()  # an earlier process may have left records on disk
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            # Cleared before the work: a record that is added during the work wakes the task again.
            self._wake.clear()
            try:
                await self._look()
                await self._tell_of_begun()
                while self._waiting:
                    await self._publish_batch()
                # The records on disk go last: they are safe, and the waiting records take up
                # memory.
                await self._take_up()
            except BusUnavailable:
                # The next try must not wait for another record.
                self._wake.set()
                if len(self._waiting) >= SPOOL_RECORDS:
                    await self._put_aside()
                await asyncio.sleep(self._retry_seconds)

    async def _look(self) -> None:
        """Read the room at analytics and the presence of watchers. Raises BusUnavailable while
        analytics is so far behind that Redis would run out of memory.
        """
        if time.monotonic() - self._looked > LOOK_SECONDS:
            waiting, watched = await asyncio.gather(
                self._bus.waiting(ACCESS_RECORD), self._bus.get(WATCHED_KEY)
            )
            if waiting >= ENOUGH_WAITING:
                raise BusUnavailable
            # Not noted while analytics is behind: every further try must look again.
            self._looked = time.monotonic()
            self._watched = watched is not None

    async def _tell_of_begun(self) -> None:
        # The start of a request is news for a watcher only. Without a watcher, or after a failure,
        # the news is dropped.
        begun = list(self._begun)
        self._begun.clear()
        if begun and self._watched:
            await self._bus.publish(ACCESS_RECORD, pack_begun(begun))

    async def _publish_batch(self) -> None:
        """Publish up to MAX_BATCH waiting records in a single message; unpublished records go back
        to the front of the queue.
        """
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
        leave_out_fingerprints(batch)
        try:
            # After the batch is taken: a request that begins and ends while other starts are on
            # their way would else be told of after its end, and run for ever on a watcher's page.
            await self._tell_of_begun()
            await self._bus.publish(ACCESS_RECORD, pack(batch))
        except BaseException:
            # Also after a cancellation. A batch that was published all the same comes twice, which
            # adds no count.
            self._waiting.extendleft(reversed(batch))
            raise

    async def _put_aside(self) -> None:
        """Move the waiting records to disk, if there is room."""
        # Taken out of the queue before the wait: a record that is added meanwhile belongs behind.
        batch = list(self._waiting)
        self._waiting.clear()
        kept = False
        try:
            kept = (
                self._spool is not None
                and bool(batch)
                and await asyncio.to_thread(self._spool.keep, batch)
            )
        finally:
            if not kept:
                # No room, a failed write or a cancellation: the records return to the front of the
                # queue.
                self._waiting.extendleft(reversed(batch))

    async def _take_up(self) -> None:
        """Publish the records on disk. Raises BusUnavailable; records already published come once
        more, and add no count.
        """
        while self._spool is not None and (found := await asyncio.to_thread(self._spool.oldest)):
            path, records = found
            for start in range(0, len(records), MAX_BATCH):
                await self._look()
                await self._bus.publish(ACCESS_RECORD, pack(records[start : start + MAX_BATCH]))
            # Dropped after the last message: a crash in between repeats records, and loses none.
            await asyncio.to_thread(self._spool.drop, path)

    def _count_lost(self, records: int) -> None:
        self.lost += records
        self._metrics.records_lost.inc(records)


def leave_out_fingerprints(batch: Sequence[AccessRecord]) -> None:
    """Take the fingerprints beyond MAX_FINGERPRINT_BYTES out of a batch, the earliest first: a
    message keeps its size, and a record without a fingerprint lacks only an explanation.
    """
    taken = 0
    for record in reversed(batch):
        taken += len(record.fingerprint)
        if taken > MAX_FINGERPRINT_BYTES:
            record.fingerprint = ""
