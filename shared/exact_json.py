"""JSON that changes nothing it carries: the codec for every body that is read and written again.

orjson is fast, but reads an integer beyond 64 bits as a float, and refuses to write such an integer, half of a
surrogate pair, or more than 254 levels. Models write all three into the arguments of a tool. Documents without them
take orjson's way; the others take the standard library's.

Invariant: `load_json(dump_json(document)) == document` for every document `load_json` returned.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import orjson

BOM = b"\xef\xbb\xbf"
"""RFC 8259 lets a reader ignore this mark; orjson and both providers refuse it."""
DEEPEST = 800
"""Levels of nested JSON that the standard library writes within Python's limit of 1,000 frames."""

_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19  # every integer beyond 64 bits has at least 19 digits
_HALF_PAIR = b"\\u"


def load_json(data: bytes) -> Any:
    """Return the document with its integers exact and its strings whole. Raises json.JSONDecodeError."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        if _HALF_PAIR not in data:
            raise
        return _load_slowly(data)
    return _load_slowly(data) if _LONG_NUMBER in data.translate(_TO_ZERO) else document


def _load_slowly(data: bytes) -> Any:
    try:
        return json.loads(data.decode(), parse_float=_finite, parse_constant=_refuse)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError(str(error), "", 0) from error


def load_text(text: str) -> Any:
    """Return the document in `text`, which a model wrote. Raises ValueError also where reading would change it."""
    if text.count("[") + text.count("{") > DEEPEST and levels(text) > DEEPEST:
        raise ValueError(f"more than {DEEPEST} levels")
    return json.loads(text, parse_float=_finite, parse_constant=_refuse)


def dump_json(document: Any) -> bytes:
    """Return `document` as compact UTF-8; half a surrogate pair stays as its escape."""
    try:
        return orjson.dumps(document)
    except TypeError:  # orjson.JSONEncodeError is one
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def dump_text(document: Any) -> str:
    """Return `document` as compact text that every reader of UTF-8 accepts."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text if is_whole(text) else json.dumps(document, separators=(",", ":"))


def is_whole(text: str) -> bool:
    """Return True if no surrogate in `text` stands alone."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def levels(text: str) -> int:
    """Return how deep the brackets of a JSON text nest; those inside strings do not count."""
    deepest = depth = 0
    inside = escaped = False
    for character in text:
        if inside:
            inside = escaped or character != '"'
            escaped = not escaped and character == "\\"
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def may_hold_halves(text: str) -> bool:
    """Return True if the JSON in `text` may spell half of a surrogate pair, as an escape or as it is."""
    return "\\ud" in text or "\\uD" in text or not is_whole(text)


def whole(value: Any) -> Any:
    """Return `value` with U+FFFD for each half of a surrogate pair, in strings at any depth."""
    text = json.dumps(value, ensure_ascii=False)
    if is_whole(text):
        return value
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
