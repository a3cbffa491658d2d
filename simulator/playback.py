"""A reply on its way out: at its pace, or as much of it as its fault allows.

An error ends the reply in order, a cut drops the connection, a stall never ends, and what hangs
never begins. A malformed reply has JSON that breaks off, and is complete in every other way. An
uneven reply leaves in odd pieces with odd pauses, wherever its events begin and end.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import cycle

from simulator.exchange import SimulatedExchange
from simulator.script import ScriptedReply, Uneven
from simulator.spelling import respell

WRITE_BYTES = 32 * 1024
DELTA = re.compile(rb"event: (content_block_delta|[\w.]+\.delta)\n")
# The shares of the largest piece and of the longest pause, in turn. Their numbers have no common
# divisor, so a long reply meets every pair.
PIECES = (1.0, 0.02, 0.3, 0.7, 0.1)
PAUSES = (0.1, 1.0, 0.0, 0.5)


async def play_stream(
    exchange: SimulatedExchange,
    reply: ScriptedReply,
    frames: Iterable[bytes],
    failure: Callable[[], bytes],
) -> bool:
    """Send the stream. Return True if all of it was sent; `failure` is the event of an error."""
    if reply.uneven:
        await write_unevenly(exchange, reply.uneven, b"".join(frames))
        await exchange.close()
        return True
    pending = bytearray()
    deltas = 0
    clock = asyncio.get_running_loop().time
    # The deltas are due at fixed times from here on, so that a late one does not make all later
    # ones late.
    due = clock()
    for frame in frames:
        if DELTA.match(frame):
            if reply.fault == "malformed":
                frame = broken_off(frame) if deltas == reply.fault_after else frame
            # What was said before the fault goes out first: a client must be able to show it.
            elif reply.fault and deltas == reply.fault_after:
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
    reply: ScriptedReply,
    data: bytes,
    headers: Mapping[str, str],
    frames: Iterable[bytes],
) -> bool:
    """Send the whole reply in the time of the reply's stream of `frames`. Return True if all of the
    reply was sent.
    """
    if reply.pace:
        await asyncio.sleep(reply.pace * sum(DELTA.match(frame) is not None for frame in frames))
    if reply.uneven:
        await exchange.open(200, {**headers, "content-length": str(len(data))})
        await write_unevenly(exchange, reply.uneven, data)
        await exchange.close()
        return True
    # The length of the whole is promised and half of it sent, so that every client can see that
    # something is missing. A malformed reply has its true length.
    if reply.fault == "malformed":
        data = data[: len(data) // 2]
    elif reply.fault:
        await exchange.open(200, {**headers, "content-length": str(len(data))})
        await exchange.write(data[: len(data) // 2])
        await stall(reply)
        return False
    await exchange.send(200, data, headers)
    return True


async def write_unevenly(exchange: SimulatedExchange, uneven: Uneven, data: bytes) -> None:
    """Write `data` in pieces of changing sizes, with a pause of changing length after each."""
    done = 0
    for share, pause in zip(cycle(PIECES), cycle(PAUSES), strict=False):
        if done >= len(data):
            return
        size = max(1, int(uneven.piece * share))
        await exchange.write(data[done : done + size])
        done += size
        await asyncio.sleep(uneven.pause * pause)


def broken_off(frame: bytes) -> bytes:
    """Return the event `frame` with the second half of its JSON missing."""
    head, mark, data = frame.removesuffix(b"\n\n").partition(b"\ndata: ")
    return head + mark + data[: len(data) // 2] + b"\n\n"


async def stall(reply: ScriptedReply) -> None:
    if reply.fault in ("stall", "hang"):
        await asyncio.Event().wait()
