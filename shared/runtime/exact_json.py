"""JSON that changes nothing it carries: the codec for every body that is read and written again.

orjson is fast, but reads an integer beyond 64 bits as a float, and refuses to write such an
integer, half of a surrogate pair, or more than 254 levels. Documents without them take orjson's
way; the others take the standard library's. Text that a model wrote is read by
`shared/formats/json_text.py`.

Invariant: `load_json(dump_json(document)) == document` for every document `load_json` returned.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import orjson

from shared.formats.json_text import DEEPEST, finite, refuse_constant

BOM = b"\xef\xbb\xbf"
"""RFC 8259 lets a reader ignore this mark; orjson and both providers refuse it."""

_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19  # every integer beyond 64 bits has at least 19 digits
_HALF_PAIR = b"\\u"


def load_json(data: bytes) -> Any:
    """Return the document with exact integers and whole strings. Raises json.JSONDecodeError, also
    for more than DEEPEST levels.
    """
    document = inspect_json(data)
    # orjson reads an integer beyond 64 bits as a float without a word. Each digit becomes a zero
    # here, so one search finds any run of 19 digits; one inside a string only costs the slower
    # reading.
    if _LONG_NUMBER in data.translate(_TO_ZERO):
        document = _load_slowly(data)
    # The count of brackets is an upper bound of the depth, and the length one of that count.
    if len(data) > DEEPEST and data.count(b"[") + data.count(b"{") > DEEPEST:
        _refuse_depth(document)
    return document


def inspect_json(data: bytes) -> Any:
    """Return the document for a reader that writes nothing of it: an integer beyond 64 bits may be
    a float. Raises json.JSONDecodeError.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        # Half of a surrogate pair, spelled as an escape, is the only valid JSON that orjson refuses
        # to read.
        if _HALF_PAIR not in data:
            raise
        return _load_slowly(data)


def _load_slowly(data: bytes) -> Any:
    try:
        return json.loads(data.decode(), parse_float=finite, parse_constant=refuse_constant)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError(str(error), "", 0) from error


def _refuse_depth(document: Any) -> None:
    """Raise json.JSONDecodeError for a document with more levels than `dump_json` can write."""
    try:
        orjson.dumps(document)  # cheaper than a walk, and enough for nearly every document
    except TypeError:
        if deeper_than(document, DEEPEST):
            raise json.JSONDecodeError(f"more than {DEEPEST} levels", "", 0) from None


def deeper_than(value: Any, limit: int) -> bool:
    """Return True if lists and objects in `value` are nested more than `limit` levels deep."""
    # Level by level, because a recursion would fail at the depth that is to be found.
    level: list[Any] = [value]
    for _ in range(limit + 1):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def dump_json(document: Any) -> bytes:
    """Return `document` as compact UTF-8; half a surrogate pair stays an escape."""
    try:
        return orjson.dumps(document)
    except TypeError:  # orjson.JSONEncodeError is one
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
