"""Compression of values on their way to Redis, without holding up the event loop."""

from __future__ import annotations

import asyncio
import zlib

# zlib's quickest level: a conversation shrinks to a fifth, at some 100 MB a second.
COMPRESSION_LEVEL = 1
# Compressing this many bytes takes 3 ms, too long for the event loop.
THREAD_BYTES = 256 * 1024


async def deflated(data: bytes) -> bytes:
    """Return `data` compressed by zlib; a thread compresses a large value."""
    if len(data) > THREAD_BYTES:
        return await asyncio.to_thread(zlib.compress, data, COMPRESSION_LEVEL)
    return zlib.compress(data, COMPRESSION_LEVEL)
