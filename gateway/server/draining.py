"""The end of one gateway among several, without a failed request.

The gateway has stopped to accept, so new connections go to the other gateways. Accepted connections
are served: a reply that has not begun yet asks its client to use the connection no more, and a
connection without a request is closed only after a moment of silence. Streams go on, within a time
limit. When the whole stack stops, no gateway would serve the clients afterwards: then there is no
draining, only the grace of every stop.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Collection
from typing import Protocol

from gateway.server.connections import Connections

# A client that is about to send a request has sent the request by then.
IDLE_SECONDS = 1.0
LOOK_SECONDS = 0.05


class Drainable(Protocol):
    """The methods of a connection that draining needs."""

    def is_idle(self) -> bool:
        """Return True if no request is being received or answered."""

    def announce_end(self) -> None:
        """Make a reply that has not begun the last of the connection."""

    def close(self) -> None:
        """Close the connection."""


def others_accept(listening: socket.socket, workers: int) -> bool:
    """Return True if further processes accept connections on `listening`: the socket is shared and
    still listens.

    A stop of the whole stack ends the listening. Outside Linux the state cannot be read, so the
    result is False.
    """
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
    """Return when all `connections` are closed, after `seconds`, or once `go_on` returns False."""
    # Before the loop: a request that begins from here on ends its connection by itself.
    limits.leaving = True
    for connection in connections:
        connection.announce_end()
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    idle_since: dict[Drainable, float] = {}
    while connections and loop.time() < end and go_on():
        idle = {connection for connection in connections if connection.is_idle()}
        # A connection that was busy in between loses its time, and starts to wait anew.
        idle_since = {connection: idle_since.get(connection, loop.time()) for connection in idle}
        for connection, since in idle_since.items():
            if loop.time() - since >= idle_seconds:
                connection.close()
        await asyncio.sleep(LOOK_SECONDS)
