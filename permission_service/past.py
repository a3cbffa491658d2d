"""Past permission requests, read from the audit of analytics in a form that can be judged again.

Invariant: a request is judged with what was known when it was made, or not at all. A record without
its circumstances, or with a cut input, has no `ask`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from shared.bus import Bus
from shared.bus.channels import (
    LOGS_QUERY,
    SWITCHED,
    LogsQuery,
    PermissionRequest,
    decode_payload,
)
from shared.runtime.errors import ClientError, NoWorker
from shared.runtime.exact_json import dump_json, load_json

MOST_REQUESTS = 10_000  # the limit of the question to analytics; the latest are taken


@dataclass(frozen=True, slots=True)
class PastRequest:
    """A record of the audit, as analytics returns it. `ask` is the request for judging again; None
    when too little of the request was kept.
    """

    record: dict[str, Any]
    ask: PermissionRequest | None


class PastRequests:
    """The audit of permission requests, read over `bus`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def since(self, start_time: float) -> AsyncGenerator[PastRequest, None]:
        """Yield the requests made from `start_time` (UTC seconds) on, latest first, at most
        MOST_REQUESTS.

        Raises NoWorker when analytics does not run; BusUnavailable, StoreUnavailable.
        """
        question = LogsQuery("permissions", {"limit": MOST_REQUESTS, "start_time": start_time})
        try:
            async with self._bus.call(LOGS_QUERY, question) as replies:
                async for reply in replies:
                    for record in load_json(reply).get("results", []):
                        if record.get("outcome") == SWITCHED:  # a change of profiles, no request
                            continue
                        # Judging takes up to some milliseconds: calls that wait come between.
                        await asyncio.sleep(0)
                        yield PastRequest(record, read_past_request(record))
        except NoWorker as error:
            raise NoWorker(
                "Past requests are kept by the service `analytics`, which does not answer."
            ) from error


def read_past_request(record: dict[str, Any]) -> PermissionRequest | None:
    """Return the request of a record of the audit; None when too little of the request was kept."""
    try:
        circumstances = load_json(record["circumstances"].encode())
        given = load_json(record["input"].encode())
        if not isinstance(circumstances, dict):
            return None
        fields = {
            "request_id": record["request_id"],
            "tool_name": record["tool_name"],
            "input": given,
            "caller": record["caller"],
            "session_id": record["session_id"],
            "working_directory": record["working_directory"],
            "program": record["program"],
            "machine": record["machine"],
        }
        return decode_payload(PermissionRequest, dump_json(circumstances | fields))
    # A cut input is no JSON any more; a record from before the circumstances were kept has an
    # empty text there.
    except (ValueError, ClientError, KeyError, AttributeError):
        return None
