"""The audit of permission requests and their outcomes, into DuckDB: few records, and none may be
lost.

One is acknowledged once it is committed, and adds nothing when it comes again; while the file is
away it waits.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime

from analytics.store import Store
from shared.bus import Delivery
from shared.bus.channels import PermissionAudit, decode_payload
from shared.runtime.errors import ClientError, StoreUnavailable
from shared.runtime.log import get_log

RETRY_SECONDS = 1.0


class AuditTrail:
    """The audit records in the DuckDB file. `keep` handles a delivery of PERMISSION_AUDIT."""

    def __init__(self, store: Store, retry_seconds: float = RETRY_SECONDS) -> None:
        self._store = store
        self._retry_seconds = retry_seconds
        # One record at a time: two transactions at once do not see each other's row, and would both
        # add it.
        self._adding = asyncio.Lock()

    async def keep(self, delivery: Delivery) -> None:
        """Returns when the record is committed, or can never be."""
        try:
            record = decode_payload(PermissionAudit, delivery.payload)
            asked_at = datetime.fromtimestamp(record.asked_at, UTC).replace(tzinfo=None)
        except (ClientError, ValueError, OverflowError, OSError) as error:
            get_log().warning(
                "audit_record_refused",
                reason=str(error),
                record=delivery.payload[:500].decode("utf-8", "replace"),
            )
            return
        while True:
            try:
                async with self._adding:
                    await self._store.change(
                        "add_permission", **(asdict(record) | {"asked_at": asked_at})
                    )
            except StoreUnavailable:
                await asyncio.sleep(self._retry_seconds)
            else:
                return
