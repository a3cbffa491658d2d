"""Request bodies as they were before compression: Codex sends zstd to whatever address it is given.

The unpacked body has the same limit as a sent body, checked during the unpacking: a small body
cannot become a large one. Two libraries beyond the standard one are needed, and both are used only
here.
"""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Callable
from typing import Any

import brotli

from shared.runtime.errors import ClientError, TooLarge, UnsupportedMedia

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

INLINE_BYTES = 64 * 1024  # a larger body is unpacked in a thread
# A small body is unpacked in a thread too, once the unpacked bytes pass this size.
INLINE_UNPACKED_BYTES = 256 * 1024
# zlib's numbers for its three wrappings
GZIP = 16 + zlib.MAX_WBITS
ZLIB = zlib.MAX_WBITS
BARE = -zlib.MAX_WBITS


async def decode_body(body: bytes, encodings: str, limit: int) -> bytes:
    """Return `body` without its content encoding; a body may have only one encoding.

    Raises UnsupportedMedia for several encodings or an unknown encoding, ClientError for an invalid
    body, and TooLarge past `limit` bytes.
    """
    names = [name.strip().lower() for name in encodings.split(",") if name.strip()]
    names = [name for name in names if name != "identity"]
    if not names:
        return body
    if len(names) > 1:
        raise UnsupportedMedia(
            "The request body has several content encodings; send one of gzip, deflate, br or zstd."
        )
    [name] = names
    if name not in DECODERS:
        raise UnsupportedMedia(
            f"content-encoding {name!r} is not understood; send gzip, deflate, br or zstd."
        )
    if len(body) <= INLINE_BYTES and limit > INLINE_UNPACKED_BYTES:
        try:
            return unpack_one(name, body, INLINE_UNPACKED_BYTES)
        except TooLarge:
            # A small body that becomes large: unpack again in a thread, where no stream waits.
            pass
    return await asyncio.to_thread(unpack_one, name, body, limit)


def unpack_one(name: str, body: bytes, limit: int) -> bytes:
    """Return `body` unpacked. Raises TooLarge past `limit` bytes, ClientError for a body not
    encoded as `name`.
    """
    try:
        unpacked = DECODERS[name](body, limit + 1)
    except (zlib.error, zstd.ZstdError, brotli.error, EOFError) as error:
        raise ClientError(
            f"The request body is not valid {name}, as its content-encoding says."
        ) from error
    if len(unpacked) > limit:
        raise TooLarge(
            f"The request body is larger than the {limit:,} bytes this server accepts, once it is "
            "unpacked."
        )
    return unpacked


def unpack_gzip(body: bytes, most: int) -> bytes:
    return in_turn(lambda: zlib.decompressobj(GZIP), body, most)


def unpack_deflate(body: bytes, most: int) -> bytes:
    """Return deflated data unpacked, in zlib's wrapping as the standard says, or bare, as half of
    the world sends it.
    """
    try:
        return in_turn(lambda: zlib.decompressobj(ZLIB), body, most)
    except zlib.error:
        return in_turn(lambda: zlib.decompressobj(BARE), body, most)


def unpack_zstd(body: bytes, most: int) -> bytes:
    return in_turn(zstd.ZstdDecompressor, body, most)


def in_turn(make: Callable[[], Any], body: bytes, most: int) -> bytes:
    """Return the frames (members) of `body`, one after another, unpacked. Raises EOFError for an
    incomplete frame.
    """
    pieces: list[bytes] = []
    left = most
    while True:
        frame = make()
        piece = frame.decompress(body, left)
        pieces.append(piece)
        left -= len(piece)
        # `left` began one byte beyond the limit: at 0 the body is known to be too large.
        if left <= 0 or (frame.eof and not frame.unused_data):
            return b"".join(pieces)
        if not frame.eof:
            raise EOFError
        # A further frame: tools that compress piece by piece write several in a row.
        body = frame.unused_data


def unpack_brotli(body: bytes, most: int) -> bytes:
    decompressor = brotli.Decompressor()
    pieces = [decompressor.process(body, output_buffer_limit=most)]
    left = most - len(pieces[0])
    while left > 0 and not decompressor.is_finished():
        piece = decompressor.process(b"", output_buffer_limit=left)
        # No output before the end: the rest of the input is missing.
        if not piece:
            raise EOFError
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": unpack_gzip,
    "x-gzip": unpack_gzip,
    "deflate": unpack_deflate,
    "br": unpack_brotli,
    "zstd": unpack_zstd,
}
