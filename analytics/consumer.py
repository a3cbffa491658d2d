"""Access records into DuckDB, in batches, each with its price.

A record is acknowledged after its commit, so it is never lost; one that comes again adds nothing,
so it is never doubled; one that cannot be stored is told of and let go, so it never blocks the
others.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from analytics.recent_prompts import MOST_OF_CONVERSATION, RecentPrompts
from analytics.store import RecordRefused, Store
from analytics.watch import Watchers
from shared.accounts.prices import Prices
from shared.bus import Delivery
from shared.bus.channels import AccessRecord, encode_payload
from shared.bus.records import split_batch, unpack, unpack_begun
from shared.runtime.errors import BusUnavailable, ClientError, StoreUnavailable
from shared.runtime.log import get_log
from shared.runtime.metrics import AnalyticsMetrics

# a row of such a batch costs half of what it costs in one of 500, and of a larger one hardly less
BATCH_ROWS = 2000
BATCH_SECONDS = 0.25
SLOTS = 100  # while one batch commits, the next ones gather: at the most some forty megabytes
REOPEN_SECONDS = 2.0
MOST_RESTORED = 2000  # prompts, with about a kilobyte each

FLUSH_SECONDS = 3.0  # for what was taken when the process has to stop

# What one delivery brought: a gateway under load sends several records at once.
Taken = tuple[list[AccessRecord], Delivery]


@dataclass(slots=True)
class Progress:
    """`pending` is taken and not yet committed; `last_commit` UTC seconds."""

    pending: int = 0
    batches: int = 0
    committed: int = 0
    refused: int = 0
    last_commit: float | None = None


class RecordConsumer:
    """Moves records from the stream into the file and counts the progress. `describe` reports the
    progress to other processes.
    """

    def __init__(
        self,
        store: Store,
        metrics: AnalyticsMetrics,
        describe: Callable[..., None],
        prices: Prices,
        watchers: Watchers,
        prompts: RecentPrompts | None = None,
        *,
        reopen_seconds: float = REOPEN_SECONDS,
    ) -> None:
        self._store = store
        self._prices = prices
        self._watchers = watchers
        self._prompts = RecentPrompts(prices) if prompts is None else prompts
        self._reopen_seconds = reopen_seconds
        self._metrics = metrics
        self._describe = describe
        self._opening = asyncio.Lock()
        self._opened = 0  # how often
        self._waiting: list[Taken] = []
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self.progress = Progress()

    async def run(self, deliveries: AsyncIterator[Delivery], stop: asyncio.Event) -> None:
        """Open the file, then take and commit until `stop`. What was taken by then is committed, or
        stays in Redis.
        """
        if not await self._open_store(stop):
            return
        await self._restore_prompts()
        async with asyncio.TaskGroup() as tasks:
            taking = tasks.create_task(self._take(deliveries))
            tending = tasks.create_task(self._keep_open(stop))
            writing = tasks.create_task(self._write(stop))
            await stop.wait()
            taking.cancel()
            tending.cancel()
            # Wakes the writer, which may be waiting for records: what was taken is committed now.
            self._some.set()
            self._enough.set()
            # A file that cannot be written must not hold up the end; its records stay in Redis.
            await asyncio.wait([writing], timeout=FLUSH_SECONDS)
            writing.cancel()

    async def _open_store(self, stop: asyncio.Event) -> bool:
        """Wait, however long another program holds the file, until it is open; False when `stop`
        came first.
        """
        told = ""
        while not stop.is_set():
            try:
                await self._store.open()
            except StoreUnavailable as error:
                if error.message != told:
                    told = error.message
                    get_log().warning(
                        "database_unavailable", reason=told, retry_seconds=self._reopen_seconds
                    )
                    self._describe(problem=told)
                await self._pause(stop)
            else:
                self._opened += 1
                get_log().debug("database_open", path=str(self._store.path))
                self._describe(problem=self._store.note)
                return True
        return False

    async def _restore_prompts(self) -> None:
        """Take the last prompts of every conversation from the file, for comparison with the next
        prompts.
        """
        bounds = {"each": MOST_OF_CONVERSATION // 2, "most": MOST_RESTORED}
        try:
            self._prompts.restore(await self._store.query("recent_prompts", bounds))
        except (ClientError, StoreUnavailable) as error:
            get_log().warning("prompts_not_restored", reason=error.message)

    async def _keep_open(self, stop: asyncio.Event) -> None:
        """Open the file anew when it is gone or damaged, also while no record comes,
        until `stop`.
        """
        while not stop.is_set():
            await self._pause(stop)
            opened = self._opened
            if trouble := await asyncio.to_thread(self._store.trouble):
                await self._reopen(trouble, opened, stop)

    async def _reopen(self, reason: str, opened: int, stop: asyncio.Event) -> bool:
        """Close the file and open the file anew, unless a reopening followed the `opened`th opening
        already.

        Return False when `stop` came first.
        """
        async with self._opening:
            # The writer and the tender may notice the same trouble. The second to get here finds
            # the file opened anew already.
            if opened != self._opened:
                return True
            await self._store.close(reason)
            self._describe(problem=reason)
            await self._pause(stop)
            return await self._open_store(stop)

    async def _take(self, deliveries: AsyncIterator[Delivery]) -> None:
        async for delivery in deliveries:
            if (begun := unpack_begun(delivery.payload)) is not None:
                self._watchers.show(begun)
                await acknowledge(delivery)
                continue
            records = self._read(delivery.payload)
            if not records:
                await acknowledge(delivery)
                continue
            for record in records:
                self._prices.fill_in(record)
            self._prompts.explain(records)
            self._watchers.show(records)
            self._waiting.append((records, delivery))
            self._count_pending(len(records))
            self._some.set()
            # Half of the slots is enough for a commit as well: with all slots waiting nothing could
            # be taken during the commit.
            if self._gathered() >= BATCH_ROWS or len(self._waiting) >= SLOTS // 2:
                self._enough.set()

    def _gathered(self) -> int:
        return sum(len(records) for records, _ in self._waiting)

    def _read(self, payload: bytes) -> list[AccessRecord]:
        """Return the records of a delivery; unreadable records are logged and left out."""
        try:
            return unpack(payload)
        except ClientError as error:
            # One bad record must not cost the others of its delivery: each is read alone.
            pieces = split_batch(payload)
            if len(pieces) == 1:
                self._refuse(payload, error.message)
                return []
            return [record for piece in pieces for record in self._read(piece)]

    async def _write(self, stop: asyncio.Event) -> None:
        while self._waiting or not stop.is_set():
            await self._some.wait()
            # The first record opens a short time in which more can join its batch: a row costs less
            # in a larger batch.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), BATCH_SECONDS)
            # Taken and emptied without an await in between, so no record falls between two batches.
            batch = self._waiting
            self._waiting = []
            # After the stop both events stay set: the last rounds wait for nothing.
            if not stop.is_set():
                self._some.clear()
                self._enough.clear()
            if batch:
                await self._commit(batch, stop)
                self._count_pending(-sum(len(records) for records, _ in batch))

    async def _commit(self, batch: list[Taken], stop: asyncio.Event) -> None:
        """Store the batch, then acknowledge the batch. A record that spoils the batch is found by
        halving.
        """
        every = [record for records, _ in batch for record in records]
        try:
            await self._insert(every, stop)
        except RecordRefused:
            await self._commit_halves(batch, stop)
        except StoreUnavailable:
            get_log().warning("records_left_in_redis", records=len(batch))
        else:
            self._count_batch(every)
            # Acknowledged only now. A crash after the commit brings the records again, and `insert`
            # adds none of them twice.
            await asyncio.gather(*(acknowledge(delivery) for _, delivery in batch))

    async def _commit_halves(self, batch: list[Taken], stop: asyncio.Event) -> None:
        if len(batch) > 1:
            # Halving finds the bad record with far fewer commits than trying each record alone, and
            # stores the others on the way.
            middle = len(batch) // 2
            await self._commit(batch[:middle], stop)
            await self._commit(batch[middle:], stop)
            return
        [(records, delivery)] = batch
        try:
            for record in records:
                await self._commit_alone(record, stop)
        # Not acknowledged: the whole delivery comes again, and the records that were stored are
        # skipped then.
        except StoreUnavailable:
            return
        await acknowledge(delivery)

    async def _commit_alone(self, record: AccessRecord, stop: asyncio.Event) -> None:
        try:
            await self._insert([record], stop)
        except RecordRefused as error:
            self._refuse(encode_payload(record), str(error))
        else:
            self._count_batch([record])

    async def _insert(self, records: list[AccessRecord], stop: asyncio.Event) -> None:
        """Insert, opening the file anew as often as it fails. Raises StoreUnavailable only once
        `stop` is set.
        """
        while True:
            # Noted before the attempt, so that `_reopen` knows whether the file was opened anew
            # since.
            opened = self._opened
            try:
                await self._store.insert(records)
            except StoreUnavailable as error:
                get_log().warning("commit_failed", reason=error.message, records=len(records))
                if not await self._reopen(error.message, opened, stop):
                    raise
            else:
                return

    async def _pause(self, stop: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), self._reopen_seconds)

    def _refuse(self, record: bytes, reason: str) -> None:
        self.progress.refused += 1
        self._metrics.refused.inc()
        get_log().warning(
            "record_refused", reason=reason, record=record[:500].decode("utf-8", "replace")
        )

    def _count_pending(self, change: int) -> None:
        self.progress.pending += change
        self._metrics.pending.set(self.progress.pending)

    def _count_batch(self, records: list[AccessRecord]) -> None:
        now = time.time()
        newest = records[-1]
        self.progress.batches += 1
        self.progress.committed += len(records)
        self.progress.last_commit = now
        self._metrics.batches.inc()
        self._metrics.rows.inc(len(records))
        self._metrics.count_costs(records)
        self._metrics.lag.set(max(0.0, now - newest.timestamp - newest.duration_ms / 1000))


async def acknowledge(delivery: Delivery) -> None:
    """Acknowledge `delivery`. A lost acknowledgement only repeats the record, and a repeated record
    adds no row.
    """
    with contextlib.suppress(BusUnavailable):
        await delivery.ack()
