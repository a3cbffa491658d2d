"""A request that was refused, cut or left leaves nothing behind that only the garbage collector
could free.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from gateway.providers import Outgoing
from shared.formats.ir import Prompt
from tests.support.matrix import matrix
from tests.unit.gateway.conftest import DELTA, END, START, Connection, Running, Start

DIALECTS = {
    "/api/v1/messages": {
        "model": "claude-x",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
    },
    "/api/v1/chat/completions": {
        "model": "claude-x",
        "messages": [{"role": "user", "content": "hi"}],
    },
    "/api/v1/responses": {"model": "claude-x", "input": "hi"},
}


@pytest.fixture(autouse=True)
def older() -> Iterator[list[object]]:
    """Switch the collector off, and yield the requests and prompts of other tests, which do not
    count.
    """
    gc.collect()
    gc.disable()
    yield requests_in_memory()
    gc.enable()


def requests_in_memory() -> list[object]:
    """Return every request and prompt that is in memory now."""
    return [each for each in gc.get_objects() if type(each) in (Outgoing, Prompt)]


def held_requests(older: list[object]) -> list[object]:
    """Return every request and prompt of this test that is still in memory."""
    known = {id(each) for each in older}
    return [each for each in requests_in_memory() if id(each) not in known]


async def refuse(connection: Connection) -> None:
    error = b'{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."}}'
    await connection.answer(error, "429 Too Many Requests")


async def cut_after_a_piece(connection: Connection) -> None:
    await connection.start_stream()
    await connection.send_chunk(START + DELTA)
    connection.writer.close()


async def close_at_once(connection: Connection) -> None:
    connection.writer.close()


async def serve_whole_stream(connection: Connection) -> None:
    await connection.start_stream()
    await connection.send_chunk(START + DELTA + END)
    await connection.send(b"0\r\n\r\n")


async def hang_after_a_piece(connection: Connection) -> None:
    await connection.start_stream()
    await connection.send_chunk(START + DELTA)
    await connection.closed.wait()


async def settle(running: Running, count: int) -> None:
    """Wait until the gateway is done with `count` requests: their records are written last."""
    await running.bus.records(count)
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("path", matrix(DIALECTS))
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("script", [refuse, cut_after_a_piece, close_at_once, serve_whole_stream])
async def test_an_ended_request_is_freed_at_once(
    start_gateway: Start, older: list[object], path: str, stream: bool, script: object
) -> None:
    running = await start_gateway()
    if script is serve_whole_stream and path == "/api/v1/messages" and not stream:
        pytest.skip("a provider sends no stream there")
    running.provider.scripts += [script] * 2  # type: ignore[list-item]
    for count in (1, 2):
        await running.post(path, json=DIALECTS[path] | {"stream": stream})
        await settle(running, count)
    assert held_requests(older) == []


@pytest.mark.parametrize("path", matrix(DIALECTS))
async def test_a_request_whose_client_left_is_freed_at_once(
    start_gateway: Start, older: list[object], path: str
) -> None:
    running = await start_gateway()
    running.provider.scripts.append(hang_after_a_piece)
    async with running.client.stream(
        "POST", path, json=DIALECTS[path] | {"stream": True}
    ) as response:
        await anext(response.aiter_raw())
    await settle(running, 1)
    assert held_requests(older) == []
