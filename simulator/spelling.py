"""One event in every spelling the standard for event streams (WHATWG, "server-sent events") allows.

Providers and the proxies before them differ in these; a reader that knows one of them shows a
perfect stream as broken.
"""

from __future__ import annotations

import json
from collections.abc import Callable

Respell = Callable[[str, bytes], bytes]


def data_first(name: str, data: bytes) -> bytes:
    return b"data: %b\nevent: %b\n\n" % (data, name.encode())


def several_lines(name: str, data: bytes) -> bytes:
    """Return the event with the JSON over many `data:` lines, as written by a pretty printer."""
    lines = json.dumps(json.loads(data), indent=1).encode().split(b"\n")
    return b"event: %b\n%b\n\n" % (name.encode(), b"\n".join(b"data: " + line for line in lines))


def no_space(name: str, data: bytes) -> bytes:
    return b"event:%b\ndata:%b\n\n" % (name.encode(), data)


def comments(name: str, data: bytes) -> bytes:
    return b": a comment\nid: 7\nevent: %b\n:\nretry: 10\nnonsense\ndata: %b\n: another\n\n" % (
        name.encode(),
        data,
    )


def unnamed(name: str, data: bytes) -> bytes:
    del name
    return b"data: %b\n\n" % data


def carriage_returns(name: str, data: bytes) -> bytes:
    return b"event: %b\rdata: %b\r\r" % (name.encode(), data)


def both_line_ends(name: str, data: bytes) -> bytes:
    return b"event: %b\r\ndata: %b\r\n\r\n" % (name.encode(), data)


def mixed_line_ends(name: str, data: bytes) -> bytes:
    # The blank line has another line end than the line before it.
    return b"event: %b\ndata: %b\n\r\n" % (name.encode(), data)


SPELLINGS: tuple[Respell, ...] = (
    data_first, several_lines, no_space, comments, unnamed, carriage_returns, both_line_ends,
    mixed_line_ends,
)  # fmt: skip


def respell(frame: bytes, number: int) -> bytes:
    """Return the event `frame` of a service in the spelling with the number `number`."""
    head, _, data = frame.removesuffix(b"\n\n").partition(b"\ndata: ")
    name = head.removeprefix(b"event: ").decode()
    return SPELLINGS[number % len(SPELLINGS)](name, data)
