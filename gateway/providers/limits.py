"""The `codex.rate_limits` events of a stream, read in passing.

A watcher changes no byte and never fails: an unreadable event is ignored. Chunks without the event
cost one search; of such chunks only the end is kept, because it may hold the beginning of an event.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from json import JSONDecodeError
from typing import Any

from shared.formats.sse import events_in, last_boundary
from shared.runtime.errors import UpstreamError
from shared.runtime.exact_json import load_json

KIND = "codex.rate_limits"
MARK = KIND.encode()
KEPT_BYTES = 1024  # an event's beginning, up to its type, is shorter
MOST_BYTES = 64 * 1024  # an event of limits is shorter


async def watch_limits(
    chunks: AsyncIterator[bytes], learn: Callable[[dict[str, Any]], None]
) -> AsyncIterator[bytes]:
    """Yield `chunks` unchanged; call `learn` with every event of limits before the event's last
    bytes go on.
    """
    kept = b""
    async for chunk in chunks:
        data = kept + chunk
        place = data.find(MARK)
        if place < 0:
            # The next chunk may complete a mark, and the event of that mark began before it.
            kept = data[-KEPT_BYTES:]
        elif (end := last_boundary(data)) > place:
            # A blank line behind the mark: the event is whole.
            for told in limits_in(data[:end]):
                learn(told)
            kept = data[end:]
        else:
            # The event's end is missing. Beyond MOST_BYTES the mark was a part of some other event.
            kept = data if len(data) < MOST_BYTES else b""
        yield chunk
    # The last event of a stream may lack its blank line.
    for told in limits_in(kept + b"\n\n"):
        learn(told)


def limits_in(data: bytes) -> list[dict[str, Any]]:
    """Return the events of limits in `data`; the first event may lack its beginning."""
    if MARK not in data:
        return []
    found = []
    try:
        events = events_in(data)
    except UpstreamError:
        return []
    for event in events:
        if MARK not in event.data:
            continue
        try:
            told = load_json(event.data)
        except JSONDecodeError:
            continue
        if isinstance(told, dict) and told.get("type") == KIND:
            found.append(told)
    return found
