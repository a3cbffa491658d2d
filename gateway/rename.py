"""A reply that carries the model's name as the client asked for it, where the owner's aliases chose another.

Only the first mention is the reply's own `model` field: Messages names it before any content.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import orjson

LOOK_WITHIN_BYTES = 64 * 1024  # a reply that has not named its model by then never will


async def renamed(chunks: AsyncIterator[bytes], answered: str, asked: str) -> AsyncIterator[bytes]:
    """`chunks` with the first `"model": answered` replaced; held back only until it is found."""
    mention = re.compile(rb'("model"\s*:\s*)' + re.escape(orjson.dumps(answered)))
    replacement = orjson.dumps(asked)
    held = b""
    looking = True
    async for chunk in chunks:
        if not looking:
            yield chunk
            continue
        held += chunk
        changed, count = mention.subn(lambda found: found[1] + replacement, held, count=1)
        if count or len(held) > LOOK_WITHIN_BYTES:
            looking = False
            yield changed
    if looking:
        yield held
