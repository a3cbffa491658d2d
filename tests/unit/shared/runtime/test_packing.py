from __future__ import annotations

import zlib

import pytest

from shared.runtime.packing import THREAD_BYTES, deflated


@pytest.mark.parametrize("size", [0, 10, THREAD_BYTES + 1])
async def test_a_value_of_any_size_comes_back_whole(size):
    assert zlib.decompress(await deflated(b"a" * size)) == b"a" * size
