"""The end of one gateway among several, without a failed request.

The gateway has stopped to accept, so new connections go to the others. What it accepted before is served: a reply that
has not begun yet tells its client to use the connection no more, and a connection without a request is closed only
when it has been silent for a moment. Streams go on, within a bound. When the whole stack stops, nobody would serve the
clients afterwards: then there is no draining, only the grace of every stop.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Collection
from typing import Protocol

from gateway.connections import Connections

IDLE_SECONDS = 1.0  # a client with a request on its way has sent it by then
LOOK_SECONDS = 0.05


class Drainable(Protocol):
    """A connection, as far as draining needs to know it."""

    def is_idle(self) -> bool:
        """Return True if no request is being received or answered."""

    def announce_end(self) -> None:
        """Have the reply that has not begun yet be the last one."""

    def close(self) -> None:
        """Close the connection."""


def others_accept(listening: socket.socket, workers: int) -> bool:
    """Return True if other processes go on accepting on `listening`: it is shared, and nobody has ended the listening,
    as a stop of the whole stack does. (Elsewhere than on Linux that cannot be told, so the answer is no.)"""
    if workers < 2 or sys.platform != "linux":
        return False
    return bool(listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


async def drain(
    connections: Collection[Drainable],
    limits: Connections,
    seconds: float,
    *,
    go_on: Callable[[], bool] = lambda: True,
    idle_seconds: float = IDLE_SECONDS,
) -> None:
    """Return when all `connections` have come to their end, after `seconds`, or once `go_on` says no."""
    limits.leaving = True
    for connection in connections:
        connection.announce_end()
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    idle_since: dict[Drainable, float] = {}
    while connections and loop.time() < end and go_on():
        idle = {connection for connection in connections if connection.is_idle()}
        idle_since = {connection: idle_since.get(connection, loop.time()) for connection in idle}
        for connection, since in idle_since.items():
            if loop.time() - since >= idle_seconds:
                connection.close()
        await asyncio.sleep(LOOK_SECONDS)
