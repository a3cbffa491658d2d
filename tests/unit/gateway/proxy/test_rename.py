"""Only the reply's own model field is renamed, wherever the network cut it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.proxy.rename import LOOK_WITHIN_BYTES, renamed


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def rename(*chunks: bytes) -> bytes:
    return b"".join([chunk async for chunk in renamed(pieces(*chunks), "claude-a.b", 'my "model"')])


@pytest.mark.parametrize("cut", range(1, 24))
async def test_the_first_mention_is_renamed_wherever_it_is_cut(cut: int) -> None:
    reply = b'{"model" : "claude-a.b","text":"\\"model\\": \\"claude-a.b\\""}'
    expected = b'{"model" : "my \\"model\\"","text":"\\"model\\": \\"claude-a.b\\""}'
    assert await rename(reply[:cut], reply[cut:]) == expected


async def test_a_reply_of_another_model_is_left_alone() -> None:
    assert await rename(b'{"model":"claude-axb"}') == b'{"model":"claude-axb"}'


async def test_a_reply_that_never_names_its_model_is_not_held_for_ever() -> None:
    chunks = renamed(pieces(b"x" * LOOK_WITHIN_BYTES, b"yy", b"zz"), "a", "b")
    assert len(await anext(chunks)) == LOOK_WITHIN_BYTES + 2
    assert await anext(chunks) == b"zz"
