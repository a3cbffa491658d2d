"""A large JSON object read value by value, with turns of the event loop in between.

The object is never built as a whole: an array of the wanted keys comes element by element. So a
body of 20 MB neither fills the memory a second time nor holds up other streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

from gateway.proxy.peek import SCALAR, STRUCTURE, TOKENS_PER_SLICE, scalar, string_end
from shared.runtime.exact_json import load_json

BYTES_PER_SLICE = 256 * 1024  # parsed between two turns of the event loop, in about a millisecond
QUOTE, OPEN_LIST = 0x22, 0x5B
OPENING = b"{["


async def values_in(body: bytes, wanted: Collection[str]) -> AsyncIterator[tuple[str, Any]]:
    """Yield the value of each top-level key in `wanted`, and of a list its objects one by one.

    Raises JSONDecodeError or ClientError for a body that is no JSON.
    """
    keys = {f'"{name}"'.encode(): name for name in wanted}
    depth = position = tokens = parsed = begun = 0
    key = ""
    # The depth at which a value ends: 1 for an object, 2 for each object of a list.
    end_depth = 0
    while token := STRUCTURE.search(body, position):
        start = token.start()
        mark = body[start]
        position = start + 1
        if mark == QUOTE:
            position = string_end(body, position)
            if depth == 1 and (value := SCALAR.match(body, position)):
                # At depth 1 only a key is followed by a colon.
                name = keys.get(body[start:position], "")
                position = value.end()
                parsed += len(value[1])
                if name:
                    yield name, scalar(value[1])
            elif depth == 1:
                key = keys.get(body[start:position], "")
        elif mark in OPENING:
            if depth == 1 and key:
                end_depth = 2 if mark == OPEN_LIST else 1
            if key and depth == end_depth:
                begun = start
            depth += 1
        else:
            depth -= 1
            if key and depth == end_depth:
                parsed += position - begun
                yield key, load_json(body[begun:position])
            if depth == 1:
                key = ""
                end_depth = 0
        tokens += 1
        if tokens % TOKENS_PER_SLICE == 0 or parsed >= BYTES_PER_SLICE:
            parsed = 0
            await asyncio.sleep(0)
