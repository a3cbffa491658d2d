"""Forms as documents."""

from __future__ import annotations

import base64

import httpx
import pytest

from gateway.server.forms import is_form, read_form
from shared.runtime.errors import ClientError


def written(**options: object) -> tuple[bytes, str]:
    request = httpx.Request("POST", "http://x", **options)  # type: ignore[arg-type]
    return request.read(), request.headers["content-type"]


async def test_texts_are_of_the_type_their_field_has_and_files_are_data_urls() -> None:
    body, kind = written(
        data={"prompt": "12", "n": "2", "stream": "true", "quality": "true"},
        files=[("image[]", ("a.png", b"\x00\xff", "image/png")), ("mask", ("m", b"m"))],
    )
    assert is_form(kind)
    assert await read_form(body, kind) == {
        "prompt": "12",
        "n": 2,
        "stream": True,
        "quality": "true",
        "image": [f"data:image/png;base64,{base64.b64encode(bytes([0, 255])).decode()}"],
        "mask": "data:application/octet-stream;base64,bQ==",
    }


async def test_a_field_that_comes_again_is_a_list() -> None:
    body, kind = written(files=[(name, (name, b"x")) for name in ("image", "image", "image[]")])
    document = await read_form(body, kind)
    assert len(document["image"]) == 3


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize(
    "body", [b"no form", b"--x\r\ncontent-disposition: form-data\r\n\r\n1\r\n--x--"]
)
async def test_a_body_that_is_no_form_is_the_callers_fault(kind: str, body: bytes) -> None:
    with pytest.raises(ClientError, match="multipart form"):
        await read_form(body, kind)


async def test_a_number_that_is_none_stays_text() -> None:
    body, kind = written(
        data={"n": "two", "partial_images": "9" * 5000}, files={"image": ("a", b"a")}
    )
    document = await read_form(body, kind)
    assert document["n"] == "two"
    assert isinstance(document["partial_images"], str)
