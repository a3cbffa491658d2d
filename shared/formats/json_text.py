"""JSON that a model wrote, as text: read and written without changing a digit or losing a
character.

Models write integers of any size, halves of surrogate pairs and deep nesting into the arguments of
a tool.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

DEEPEST = 800
"""Levels of nested JSON that the standard library writes within Python's limit of 1,000 frames."""


def load_text(text: str) -> Any:
    """Return the document in `text`, written by a model. Raises ValueError also if reading would
    change the document.
    """
    # The count of brackets is an upper bound of the depth and far cheaper than the walk, so nearly
    # every text is spared the walk.
    if text.count("[") + text.count("{") > DEEPEST and levels(text) > DEEPEST:
        raise ValueError(f"more than {DEEPEST} levels")
    return json.loads(text, parse_float=finite, parse_constant=refuse_constant)


def dump_text(document: Any) -> str:
    """Return `document` as compact text, accepted by every reader of UTF-8."""
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
    """Return the depth of the brackets of a JSON text; brackets inside strings do not count."""
    deepest = depth = 0
    inside = escaped = False
    for character in text:
        if inside:
            # A quote closes the string unless a backslash escapes it; a backslash that is itself
            # escaped escapes nothing.
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
    """Return True if the JSON in `text` may spell half of a surrogate pair, as an escape or as it
    is.
    """
    return "\\ud" in text or "\\uD" in text or not is_whole(text)


def whole(value: Any) -> Any:
    """Return `value` with U+FFFD for each half of a surrogate pair, in strings at any depth."""
    text = json.dumps(value, ensure_ascii=False)
    if is_whole(text):
        return value
    # Through UTF-16, in which the two halves of a pair join and a lonely half decodes to U+FFFD.
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
