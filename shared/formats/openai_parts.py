"""Images, files, tools, schemas and cache marks as both OpenAI formats spell them."""

from __future__ import annotations

import base64
import binascii
import re

from shared.formats.fields import Object, invalid, unbroken
from shared.formats.ir import Document, Image, ResponseFormat, Tool
from shared.runtime.errors import ClientError

DETAILS = ("auto", "low", "high", "original")
LEVELS = ("low", "medium", "high")
_DATA_URL = re.compile(
    r"data:(?P<type>[\w.+/-]*)(?:;(?!base64,)[^;,]*)*(?P<base64>;base64)?,", re.IGNORECASE
)

# How the base64 of each image type both vendors take begins (its magic number).
_SIGNATURES = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
}
_CACHE_MARKS = (
    ("prompt_cache_breakpoint", ("30m", "12h"), "30m"),
    ("cache_control", ("5m", "1h"), "5m"),
)
_IMAGE_TYPES = frozenset(_SIGNATURES.values())


def read_image(
    url: str, path: str, *, detail: str | None = None, cache: str | None = None
) -> Image:
    """Return an image from a `data:` or `https:` URL. Bytes win over a contradicting type: both
    vendors check them.
    """
    detail = None if detail == "auto" else detail
    if url[:8].lower() == "https://":
        return Image(url=url, detail=detail, cache=cache)
    declared, data = _split_data_url(url, path, or_else="an https: or data: URL")
    declared = "image/jpeg" if declared == "image/jpg" else declared
    media_type = next(
        (kind for start, kind in _SIGNATURES.items() if data.startswith(start)), declared
    )
    if media_type not in _IMAGE_TYPES:
        raise invalid(media_type, path, "Images must be PNG, JPEG, GIF or WebP.")
    return Image(media_type=media_type, data=data, detail=detail, cache=cache)


def read_file_part(file: Object, *, cache: str | None = None) -> Document:
    """A file from a `data:` URL; plain text is decoded."""
    data_url = file.text("file_data")
    name = file.optional("filename", str) or ""
    path = file.at("file_data")
    media_type, data = _split_data_url(data_url, path, or_else="a data: URL with base64 content")
    if not media_type.startswith("text/"):
        return Document(media_type=media_type, data=data, name=name, cache=cache)
    try:
        text = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ClientError(
            f"Invalid value for '{path}': its content is not UTF-8 text in base64.", param=path
        ) from None
    return Document(media_type=media_type, text=text, name=name, cache=cache)


def _split_data_url(url: str, path: str, *, or_else: str) -> tuple[str, str]:
    """Return the media type and the base64 of a `data:` URL. `or_else` completes the error with the
    accepted alternatives.
    """
    match = _DATA_URL.match(url)
    if match is None or not match["base64"]:
        raise invalid(url, path, f"Expected {or_else}.")
    return match["type"].lower(), unbroken(url[match.end() :])


def read_cache_mark(part: Object) -> str | None:
    """The lifetime a part asks for, by OpenAI's `prompt_cache_breakpoint` or, as many clients write
    it for Claude models, by Anthropic's `cache_control`.
    """
    for name, lifetimes, default in _CACHE_MARKS:
        if part.get(name) is not None and (mark := part.object(name)).value:
            return mark.choice("ttl", lifetimes) or default
    return None


def read_function(function: Object, *, namespace: str = "", cache: str | None = None) -> Tool:
    return Tool(
        name=function.text("name"),
        description=function.optional("description", str),
        schema=function.optional("parameters", dict),
        strict=function.optional("strict", bool),
        namespace=namespace,
        cache=cache,
    )


def read_schema(named: Object, name: str, schema: dict[str, object] | None) -> ResponseFormat:
    return ResponseFormat(
        schema, name, named.optional("description", str), named.optional("strict", bool)
    )
