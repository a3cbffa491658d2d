"""A reply on its way out: at its pace, or as much of it as its fault allows.

An error ends the reply in order, a cut drops the connection, a stall never ends, and what hangs
never begins.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping

from simulator.exchange import SimulatedExchange
from simulator.script import Reply
from simulator.spelling import respell

WRITE_BYTES = 32 * 1024
DELTA = re.compile(rb"event: (content_block_delta|[\w.]+\.delta)\n")


async def play_stream(
    exchange: SimulatedExchange, reply: Reply, frames: Iterable[bytes], failure: Callable[[], bytes]
) -> bool:
    """Send the stream. Return True if all of it was sent; `failure` is the event of an error."""
    pending = bytearray()
    deltas = 0
    clock = asyncio.get_running_loop().time
    # The deltas are due at fixed times from here on, so that a late one does not make all later
    # ones late.
    due = clock()
    for frame in frames:
        if DELTA.match(frame):
            # What was said before the fault goes out first: a client must be able to show it.
            if reply.fault and deltas == reply.fault_after:
                await exchange.write(bytes(pending))
                if reply.fails:
                    await exchange.close(failure())
                await stall(reply)
                return False
            deltas += 1
            # What came before this delta is written before the pause: held back, it would reach the
            # client one pause late.
            if reply.pace:
                await exchange.write(bytes(pending))
                pending.clear()
                due += reply.pace
                await asyncio.sleep(max(0.0, due - clock()))
        pending += frame if reply.spelling is None else respell(frame, reply.spelling)
        if len(pending) > WRITE_BYTES:
            await exchange.write(bytes(pending))
            pending.clear()
    await exchange.close(bytes(pending))
    return True


async def play_whole(
    exchange: SimulatedExchange,
    reply: Reply,
    data: bytes,
    headers: Mapping[str, str],
    frames: Iterable[bytes],
) -> bool:
    """Send the whole reply in the time of the reply's stream of `frames`. Return True if all of the
    reply was sent.
    """
    if reply.pace:
        await asyncio.sleep(reply.pace * sum(DELTA.match(frame) is not None for frame in frames))
    # The length of the whole is promised and half of it sent, so that every client can see that
    # something is missing.
    if reply.fault:
        await exchange.open(200, {**headers, "content-length": str(len(data))})
        await exchange.write(data[: len(data) // 2])
        await stall(reply)
        return False
    await exchange.send(200, data, headers)
    return True


async def stall(reply: Reply) -> None:
    if reply.fault in ("stall", "hang"):
        await asyncio.Event().wait()
