from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib

import brotli
import pytest
from backports import zstd

from gateway.server.decoding import INLINE_BYTES, decode_body
from shared.runtime.errors import ClientError, TooLarge, UnsupportedMedia

BODY = b'{"model": "gpt-5.5", "input": [' + b"1," * 2000 + b"1]}"
LIMIT = 1024 * 1024


def bare_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


ENCODED = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


@pytest.mark.parametrize("name", ENCODED)
async def test_every_encoding_is_taken_back(name: str) -> None:
    assert await decode_body(ENCODED[name](BODY), name, LIMIT) == BODY


async def test_deflate_without_its_wrapping_is_taken_too() -> None:
    assert await decode_body(bare_deflate(BODY), "deflate", LIMIT) == BODY


@pytest.mark.parametrize("names", ["gzip, zstd", "gzip,gzip", "br, identity, br"])
async def test_more_than_one_encoding_is_415(names: str) -> None:
    with pytest.raises(UnsupportedMedia, match="several content encodings"):
        await decode_body(zstd.compress(gzip.compress(BODY)), names, LIMIT)


async def test_identity_beside_an_encoding_does_not_count() -> None:
    assert await decode_body(gzip.compress(BODY), "identity, GZIP", LIMIT) == BODY


@pytest.mark.parametrize("name", ENCODED)
async def test_a_small_body_that_becomes_large_is_unpacked_beside_the_loop(name: str) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    assert len(await decode_body(ENCODED[name](b"a" * 64 * LIMIT), name, 64 * LIMIT)) == 64 * LIMIT
    counting.cancel()
    assert turns > 2


async def test_identity_is_nothing() -> None:
    assert await decode_body(BODY, "identity", LIMIT) is BODY


@pytest.mark.parametrize("name", ["gzip", "zstd"])
async def test_frames_one_behind_the_other_are_one_body(name: str) -> None:
    pack = ENCODED[name]
    assert await decode_body(pack(BODY) + pack(BODY), name, LIMIT) == BODY * 2


@pytest.mark.parametrize("name", ENCODED)
async def test_a_bomb_stops_at_the_limit_and_not_behind_it(name: str) -> None:
    bomb = ENCODED[name](b"a" * (64 * LIMIT))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="1,048,576 bytes"):
            await decode_body(bomb, name, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 8 * LIMIT
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ENCODED)
async def test_a_body_of_exactly_the_limit_passes(name: str) -> None:
    assert len(await decode_body(ENCODED[name](b"a" * LIMIT), name, LIMIT)) == LIMIT


@pytest.mark.parametrize("name", ENCODED)
async def test_a_body_cut_off_is_refused(name: str) -> None:
    with pytest.raises(ClientError, match="not valid"):
        await decode_body(ENCODED[name](BODY)[:-6], name, LIMIT)


@pytest.mark.parametrize("name", ENCODED)
async def test_what_is_not_encoded_is_refused(name: str) -> None:
    with pytest.raises(ClientError, match=f"not valid {name}"):
        await decode_body(b'{"model": "plain json under a wrong flag"}', name, LIMIT)


async def test_an_unknown_encoding_is_415() -> None:
    with pytest.raises(UnsupportedMedia, match="lzma"):
        await decode_body(BODY, "lzma", LIMIT)


async def test_a_large_body_is_unpacked_beside_the_loop() -> None:
    body = bytes(range(256)) * 4096
    packed = zlib.compress(body, 0)
    assert len(packed) > INLINE_BYTES
    assert await decode_body(packed, "deflate", 4 * LIMIT) == body
