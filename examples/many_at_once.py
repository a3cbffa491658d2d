"""Fifty streams at once, and one left after its first word: python many_at_once.py."""

from __future__ import annotations

import asyncio
import os
import time

from openai import AsyncOpenAI


async def ask(client: AsyncOpenAI, number: int) -> float:
    """Seconds to the first word."""
    asked = time.monotonic()
    turns = [{"role": "user", "content": f"Write a line about the number {number}."}]
    first = 0.0
    stream = await client.chat.completions.create(
        model="claude-haiku-5-5", messages=turns, stream=True
    )
    async for chunk in stream:
        if not first and chunk.choices and chunk.choices[0].delta.content:
            first = time.monotonic() - asked
    return first


async def leave(client: AsyncOpenAI) -> None:
    """Leaving costs nothing: CCProxy closes the provider's stream at once."""
    turns = [{"role": "user", "content": "Tell a long story."}]
    async with await client.chat.completions.create(
        model="claude-haiku-5-5", messages=turns, stream=True
    ) as stream:
        await anext(aiter(stream))


async def main() -> None:
    url = os.environ.get("CCPROXY_URL", "http://127.0.0.1:8000")
    async with AsyncOpenAI(
        base_url=f"{url}/api/v1", api_key=os.environ.get("CCPROXY_TOKEN", "anything")
    ) as client:
        waits = sorted(await asyncio.gather(*(ask(client, number) for number in range(50))))
        await leave(client)
    print(
        f"{len(waits)} answers; first word after {waits[25]:.2f} s in the middle, {waits[-1]:.2f} "
        "s at worst"
    )


asyncio.run(main())
