"""Images that a model made, from OpenAI's item to a Chat message and back."""

from __future__ import annotations

from typing import Any

import pytest

from shared.formats.generated_images import image_call_of, image_url_of
from shared.formats.ir import Opaque, Text

PNG = "iVBORw0KGgoAAAA="


def made(**changes: Any) -> Opaque:
    return Opaque(
        "openai", {"type": "image_generation_call", "id": "ig_1", "result": PNG} | changes
    )


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "image/png"),
        ({"output_format": "jpeg"}, "image/png"),  # the bytes know better
        ({"result": "/9j/4AAQ"}, "image/jpeg"),
        ({"result": "PHN2Zy8+", "output_format": "svg"}, "image/svg+xml"),
    ],
)
def test_the_url_has_the_type_of_the_image(changes: dict[str, str], kind: str) -> None:
    assert image_url_of(made(**changes)).startswith(f"data:{kind};base64,")


@pytest.mark.parametrize(
    "part",
    [
        Text("x"),
        made(result=None),
        made(result=""),
        made(result=7),
        made(type="x"),
        Opaque("anthropic", made().data),
    ],
)
def test_anything_else_is_no_image(part: Any) -> None:
    assert image_url_of(part) == ""


def test_an_image_comes_back_as_the_same_call_each_time() -> None:
    call = image_call_of(f"data:image/png;base64,{PNG}")
    assert call == image_call_of(image_url_of(made()))
    assert call is not None
    assert (call.data["result"], call.data["id"][:3]) == (PNG, "ig_")
    assert image_call_of("https://example.com/a.png") is None
    assert image_call_of("data:image/png;base64,not base64!") is None
