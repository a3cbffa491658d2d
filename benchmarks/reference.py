"""What the stack could do with nothing in it: a bare ASGI callable that passes bytes on with
aiohttp.

Run by uvicorn with uvloop and httptools, like the gateway.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import aiohttp
import uvicorn

UPSTREAM = os.environ.get("BENCH_UPSTREAM", "")
session: list[aiohttp.ClientSession] = []


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if not session:
        connector = aiohttp.TCPConnector(limit=0)
        session.append(aiohttp.ClientSession(connector=connector, auto_decompress=False))
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    async with session[0].post(UPSTREAM + scope["path"], data=body) as answer:
        headers = [(b"content-type", answer.headers["content-type"].encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        async for piece in answer.content.iter_any():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
