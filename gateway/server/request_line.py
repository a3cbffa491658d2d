"""One line of the log for each request that a person wants to see: the requests to a provider, and
every request that failed.

The stack's own questions (dashboard, metrics, health) have no line unless they fail: an open
dashboard would fill the terminal. Lines are gathered for a moment and written together, outside any
request: each costs some 35 microseconds here, but every write wakes the two processes that copy the
log to the terminal.
"""

from __future__ import annotations

import asyncio
from typing import Any

from shared.bus.channels import AccessRecord
from shared.runtime.log import get_log

STACKS_OWN = "gateway"  # the service type of a request that no provider answered
GATHER_SECONDS = 0.05  # a person does not notice the delay


class RequestLines:
    """The lines of the process that wait to be written; the last ones are written at the exit of
    the context.
    """

    def __init__(self) -> None:
        self._waiting: list[AccessRecord] = []

    def __enter__(self) -> RequestLines:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def add(self, record: AccessRecord) -> None:
        """Have the line of a complete `record` written soon, unless the request was one of the
        stack's own and succeeded. Needs a running event loop.
        """
        if record.service_type == STACKS_OWN and record.status_code < 400:
            return
        if not self._waiting:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self.flush)
        self._waiting.append(record)

    def flush(self) -> None:
        """Write every line that waits."""
        waiting = self._waiting
        self._waiting = []
        log = get_log()
        if not log.writes_info():
            return
        for record in waiting:
            log.info("request", **request_facts(record))


def request_facts(record: AccessRecord) -> dict[str, Any]:
    """Return the facts of the line: times in milliseconds, the cost in dollars.

    The cost is there when the provider told it (`/sdk`): prices are known to analytics only.
    """
    facts: dict[str, Any] = {
        "request_id": record.request_id,
        "method": record.method,
        "path": record.path,
        "status": record.status_code,
        "duration_ms": round(record.duration_ms, 1),
    }
    prompt = record.tokens_input + record.cache_read_tokens + record.cache_write_tokens
    told = {
        "caller": record.caller,
        "client": record.client_program,
        "model": record.model,
        "asked_model": record.asked_model,
        "tokens_input": prompt,
        "tokens_output": record.tokens_output,
        "error_kind": record.error_kind,
        "error_message": record.error_message,
    }
    facts |= {name: value for name, value in told.items() if value}
    if record.cost_sdk_usd is not None:
        facts["cost_usd"] = record.cost_sdk_usd
    return facts
