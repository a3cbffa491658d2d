"""A price list is downloaded as JSON, or the reason is an OSError or a ValueError."""

from __future__ import annotations

import asyncio

import pytest

from analytics.price_download import download


async def answered(reply: bytes) -> object:
    """Return what `download` makes of one server's reply."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        return await download(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/prices.json")


async def test_a_list_is_returned_as_its_document() -> None:
    assert await answered(b'HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{"a":1}') == {"a": 1}


async def test_a_refusal_of_the_server_is_an_os_error_with_the_status() -> None:
    with pytest.raises(ConnectionError, match="503"):
        await answered(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")


async def test_another_content_is_a_value_error() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are those of the JSON reader
        await answered(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>")
