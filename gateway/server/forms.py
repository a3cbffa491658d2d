"""Multipart forms as JSON documents, for routes whose format takes both: files become `data:` URLs,
numbers numbers.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from shared.runtime.errors import ClientError

SLICE_BYTES = 256 * 1024  # parsed between two turns of the event loop
MOST_FILES = 20
MOST_FIELDS = 60
WHOLE_NUMBERS = frozenset(
    {"n", "partial_images", "output_compression", "frame_count", "frame_duration_ms"}
)
BOOLEANS = {"true": True, "false": False}


def is_form(content_type: str) -> bool:
    """Return True if `content_type` is a multipart form."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


async def read_form(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the form's fields; a field given several times, or as `name[]`, becomes a list. Raises
    ClientError.
    """

    async def slices() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), SLICE_BYTES):
            yield body[start : start + SLICE_BYTES]
            await asyncio.sleep(0)

    parser = MultiPartParser(
        Headers({"content-type": content_type}),
        slices(),
        max_files=MOST_FILES,
        max_fields=MOST_FIELDS,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise ClientError(f"The request body is not a valid multipart form: {error}.") from error
    try:
        return await as_document([(name, value) for name, value in form.multi_items()])
    finally:
        await form.close()


async def as_document(items: list[tuple[str, UploadFile | str]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for given, value in items:
        name = given.removesuffix("[]")
        read = as_value(name, value) if isinstance(value, str) else await as_data_url(value)
        if name not in document:
            document[name] = [read] if given.endswith("[]") else read
        elif isinstance(document[name], list):
            document[name].append(read)
        else:
            document[name] = [document[name], read]
    return document


def as_value(name: str, text: str) -> str | int | bool:
    """Return a form's text as the type of the field in JSON."""
    if name in WHOLE_NUMBERS and text.isdecimal() and len(text) < 10:
        return int(text)
    return BOOLEANS.get(text, text) if name == "stream" else text


async def as_data_url(file: UploadFile) -> str:
    data = await file.read()
    encoded = await asyncio.to_thread(base64.b64encode, data)
    return f"data:{file.content_type or 'application/octet-stream'};base64,{encoded.decode()}"
