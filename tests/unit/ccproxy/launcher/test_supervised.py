"""The output of supervisord reaches the log in whole lines."""

from __future__ import annotations

import asyncio

from ccproxy.launcher.supervised import read_pipe_line


async def test_lines_are_read_whole_and_a_monster_in_pieces():
    reader = asyncio.StreamReader(limit=8)
    reader.feed_data(b"one\n" + b"x" * 20 + b"\nlast")
    reader.feed_eof()
    pieces = []
    while piece := await read_pipe_line(reader):
        pieces.append(piece)
    assert pieces[0] == b"one\n"
    assert b"".join(pieces) == b"one\n" + b"x" * 20 + b"\nlast"
    assert pieces[-1] == b"last"
