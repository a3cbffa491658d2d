"""A large object is read value by value, as a parser would read it."""

from __future__ import annotations

import asyncio
import json
from json import JSONDecodeError
from typing import Any

import pytest

from gateway.proxy.slices import values_in
from shared.runtime.errors import ClientError


async def read(body: bytes, *wanted: str) -> list[tuple[str, Any]]:
    return [found async for found in values_in(body, wanted)]


async def test_the_wanted_values_come_and_no_others() -> None:
    body = {
        "model": "m",
        "system": 'a "text" with } and [',
        "metadata": {"tools": [{"no": 1}], "system": "no"},
        "tools": [{"name": "a", "list": [[{"b": []}]]}, {"name": "c"}],
        "thinking": {"type": "x", "deep": {"er": [1]}},
        "messages": [],
        "input": [{"role": "user"}],
    }
    for data in (json.dumps(body), json.dumps(body, indent=2)):
        assert await read(data.encode(), "system", "tools", "thinking", "messages") == [
            ("system", body["system"]),
            ("tools", {"name": "a", "list": [[{"b": []}]]}),
            ("tools", {"name": "c"}),
            ("thinking", body["thinking"]),
        ]


@pytest.mark.parametrize("body", [b'{"system": "ab', b'{"tools": [{"a": tru}]}'])
async def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises((ClientError, JSONDecodeError)):
        await read(body, "system", "tools")


async def test_other_work_gets_its_turns_while_a_large_body_is_read() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    message = {"role": "user", "content": [{"type": "text", "text": "sea " * 2000}] * 10}
    body = json.dumps({"messages": [message] * 50}).encode()
    assert len(await read(body, "messages")) == 50
    beside.cancel()
    assert turns > 10
