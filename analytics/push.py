"""Every process's metrics to a Pushgateway, for those who cannot scrape; from here, because there
is one analytics.
"""

from __future__ import annotations

import asyncio
import contextlib

import httpx

from shared.bus import Bus
from shared.runtime.errors import BusUnavailable
from shared.runtime.log import get_log
from shared.runtime.metric_snapshots import CONTENT_TYPE, SNAPSHOT_PREFIX, render_metrics

GROUP = "/metrics/job/ccproxy"
PUSH_SECONDS = 10.0


async def push_metrics(bus: Bus, url: str, every: float, stop: asyncio.Event) -> None:
    """Push until `stop`. What cannot be delivered is told of once, and superseded by
    the next push.
    """
    told = ""
    async with httpx.AsyncClient(base_url=url.rstrip("/"), timeout=PUSH_SECONDS) as client:
        while not stop.is_set():
            problem = await push_once(bus, client)
            if problem != told:
                told = problem
                get_log().warning("pushgateway", url=url, problem=problem or "none any more")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), every)


async def push_once(bus: Bus, client: httpx.AsyncClient) -> str:
    """Push the metrics of every live process. Return the problem, or an empty text. PUT replaces
    the earlier push, so that the series of a dead process end.
    """
    try:
        text = render_metrics(await bus.scan(SNAPSHOT_PREFIX))
        answer = await client.put(GROUP, content=text, headers={"content-type": CONTENT_TYPE})
    except (BusUnavailable, httpx.HTTPError) as error:
        return str(error) or type(error).__name__
    return f"HTTP {answer.status_code}: {answer.text[:200]}" if answer.is_error else ""
