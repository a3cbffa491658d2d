"""The fields of a body that routing needs, read without changing the body: `model` and `stream`.

Small bodies are parsed once. A large body is scanned in slices for its top-level keys, so that a 20
MB body never holds up the other streams; the provider then judges its validity.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any

import orjson

from shared.runtime.errors import ClientError
from shared.runtime.exact_json import load_json

LARGE_BYTES = 1024 * 1024
TOKENS_PER_SLICE = 4000  # about 2 ms of scanning between two turns of the event loop

STRUCTURE = re.compile(rb'["{}\[\]]')
SCALAR = re.compile(rb'\s*:\s*("(?:[^"\\]|\\.)*"|true|false|null|-?[0-9][0-9.eE+-]*)')


@dataclass(frozen=True, slots=True)
class Peek:
    """The routing fields of a body. `document` is the parsed body if the body was small enough to
    parse, else None.
    """

    model: str
    stream: bool
    document: dict[str, Any] | None


async def peek(body: bytes) -> Peek:
    """Return the routing fields of `body`. Raises ClientError when the body is not a JSON object
    with a `model`.
    """
    if len(body) > LARGE_BYTES:
        found = await scan(body, {b'"model"', b'"stream"'})
        return Peek(_model(found), found.get("stream") is True, None)
    document = parse_object(body)
    return Peek(_model(document), document.get("stream") is True, document)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the body as a JSON object. Raises ClientError with the place of the first error."""
    try:
        document = load_json(body)
    except JSONDecodeError as error:
        what = "is empty" if not body else f"is not valid JSON: {error}"
        raise ClientError(f"The request body {what}.") from error
    if not isinstance(document, dict):
        raise ClientError(f"The request body must be a JSON object, not {type(document).__name__}.")
    return document


def _model(document: dict[str, Any]) -> str:
    model = document.get("model")
    if model is None:
        raise ClientError("model: this field is required; name the model that should answer.")
    if not isinstance(model, str) or not model:
        raise ClientError("model: must be a non-empty string.")
    return model


async def scan(body: bytes, wanted: set[bytes]) -> dict[str, Any]:
    """Return the scalar values of the `wanted` top-level keys (quoted bytes), found without
    building the document.
    """
    if not body.lstrip()[:1] == b"{":
        raise ClientError("The request body must be a JSON object.")
    found: dict[str, Any] = {}
    depth = position = tokens = 0
    # Only quotes and brackets matter; the regular expression skips all bytes between them.
    while token := STRUCTURE.search(body, position):
        start = token.start()
        mark = body[start]
        position = start + 1
        if mark == 0x22:  # a quote
            # A string is skipped whole, so that brackets inside texts are never counted.
            position = string_end(body, position)
            key = body[start:position] if depth == 1 else b""
            # At depth 1 a string is a key or a value; SCALAR begins with the colon that only a key
            # has.
            if key in wanted and (value := SCALAR.match(body, position)):
                found[key.strip(b'"').decode()] = scalar(value[1])
        elif mark in b"{[":
            depth += 1
        else:
            depth -= 1
        tokens += 1
        if tokens % TOKENS_PER_SLICE == 0:
            await asyncio.sleep(0)
    # Enough to find a body that was cut off. The provider judges all other errors.
    if depth:
        raise ClientError("The request body is not valid JSON: it ends in the middle.")
    return found


def scalar(text: bytes) -> Any:
    """Return a string, number or literal of JSON. Raises ClientError for a value that is none, as
    `1e999999`.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ClientError(f"The request body is not valid JSON: {error}.") from error


def string_end(body: bytes, position: int) -> int:
    """Return the index after the closing quote of the string whose content starts at `position`."""
    while (quote := body.find(b'"', position)) >= 0:
        before = quote - 1
        while body[before] == 0x5C:  # a run of backslashes: an odd one escapes the quote
            before -= 1
        if (quote - before) % 2:
            return quote + 1
        position = quote + 1
    raise ClientError("The request body is not valid JSON: a string does not end.")
