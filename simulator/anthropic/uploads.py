"""Multipart bodies: their fields and files, or the service's 400."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from simulator.anthropic.problem import refuse
from simulator.exchange import SimulatedExchange


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A part of a form; `filename` is None for a plain field."""

    name: str
    filename: str | None
    media_type: str
    data: bytes


async def read_upload_form(exchange: SimulatedExchange) -> list[Uploaded]:
    """Return the parts of the form in the body."""
    if not exchange.headers.get("content-type", "").startswith("multipart/form-data"):
        refuse("Content-Type: Input should be multipart/form-data")

    async def body() -> AsyncGenerator[bytes, None]:
        yield exchange.record.body
        # The parser takes an empty piece for the end of the body.
        yield b""

    try:
        form = await MultiPartParser(Headers(exchange.headers), body()).parse()
    except (MultiPartException, KeyError) as error:
        refuse(f"The multipart body cannot be read: {error}")
    try:
        return [await _uploaded(name, value) for name, value in form.multi_items()]
    finally:
        await form.close()


async def _uploaded(name: str, value: UploadFile | str) -> Uploaded:
    if isinstance(value, str):
        return Uploaded(name, None, "", value.encode())
    media_type = value.content_type or "application/octet-stream"
    return Uploaded(name, value.filename or "", media_type, await value.read())
