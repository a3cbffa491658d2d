"""A reply that carries the model's name as the client asked for it, where the owner's aliases chose
another.

Only the first mention is the reply's own `model` field: every format names the model before any
content.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import orjson

LOOK_WITHIN_BYTES = 64 * 1024  # later bytes of a reply do not name its model


def rename(data: bytes, answered: str, asked: str) -> bytes:
    """Return `data` with the first `"model": answered` replaced."""
    mention = rb'("model"\s*:\s*)' + re.escape(orjson.dumps(answered))
    replacement = orjson.dumps(asked)
    # A function, because `re.sub` would read backslashes in a plain replacement.
    return re.sub(mention, lambda found: found[1] + replacement, data, count=1)


async def renamed(chunks: AsyncIterator[bytes], answered: str, asked: str) -> AsyncIterator[bytes]:
    """Yield `chunks` with the first mention replaced; bytes are held back until the mention is
    found.
    """
    held = b""
    looking = True
    async for chunk in chunks:
        if not looking:
            yield chunk
            continue
        held += chunk
        changed = rename(held, answered, asked)
        if changed != held or len(held) > LOOK_WITHIN_BYTES:
            looking = False
            yield changed
    if looking:
        yield held
