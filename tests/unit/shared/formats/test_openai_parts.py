"""URLs of images and files become what both vendors take, or the path that cannot be taken."""

from __future__ import annotations

import base64

import pytest

from shared.formats.fields import Object
from shared.formats.ir import Document, Image
from shared.formats.openai_parts import read_cache_mark, read_file_part, read_image
from shared.runtime.errors import ClientError

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(8)).decode()
GIF = base64.b64encode(b"GIF89a" + bytes(8)).decode()
WEBP = base64.b64encode(b"RIFF\x00\x00\x00\x00WEBP" + bytes(8)).decode()


@pytest.mark.parametrize(
    ("url", "media_type"),
    [
        (f"data:image/png;base64,{PNG}", "image/png"),
        (f"data:image/png;base64,{JPEG}", "image/jpeg"),
        (f"data:image/jpg;base64,{GIF}", "image/gif"),
        (f"data:application/octet-stream;base64,{WEBP}", "image/webp"),
        (f"DATA:IMAGE/PNG;charset=x;BASE64,{PNG}", "image/png"),
        (f"data:;base64,{PNG}", "image/png"),
        ("data:image/jpg;base64,AAAA", "image/jpeg"),
    ],
)
def test_the_bytes_decide_what_an_image_is(url, media_type) -> None:
    image = read_image(url, "p")
    assert (image.media_type, image.data, image.url) == (media_type, url.partition(",")[2], "")


def test_an_https_url_is_handed_on() -> None:
    assert read_image("https://x.test/a.png", "p", detail="low", cache="1h") == Image(
        url="https://x.test/a.png", detail="low", cache="1h"
    )
    assert read_image("https://x.test/a.png", "p", detail="auto").detail is None


@pytest.mark.parametrize(
    "url",
    [
        "http://x.test/a.png",
        "file:///a.png",
        "",
        "data:image/png,AAAA",
        "data:image/svg+xml;base64,PHN2Zy8+",
    ],
)
def test_what_no_vendor_takes_as_an_image_is_refused(url) -> None:
    with pytest.raises(ClientError, match=r"messages\[0\]\.url"):
        read_image(url, "messages[0].url")


def test_a_pdf_stays_base64_and_text_is_decoded() -> None:
    assert read_file_part(
        Object({"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"})
    ) == Document(media_type="application/pdf", data="JVBERi0=", name="a.pdf")
    text = base64.b64encode("größe".encode()).decode()
    assert read_file_part(
        Object({"file_data": f"data:text/plain;charset=utf-8;base64,{text}"}), cache="5m"
    ) == Document(media_type="text/plain", text="größe", cache="5m")


@pytest.mark.parametrize(
    "url", ["JVBERi0=", "data:text/plain;base64,/w==", "data:text/plain;base64,%%%"]
)
def test_a_file_that_cannot_be_read_is_refused(url) -> None:
    with pytest.raises(ClientError, match=r"'p\.file_data'"):
        read_file_part(Object({"file_data": url}, "p"))


def test_a_huge_value_is_refused_in_few_words() -> None:
    with pytest.raises(ClientError) as caught:
        read_image("x" * 10_000_000, "p")
    assert len(caught.value.message) < 200


def test_cache_marks_of_both_spellings_are_read() -> None:
    assert read_cache_mark(Object({}, "p")) is None
    assert read_cache_mark(Object({"prompt_cache_breakpoint": {"mode": "explicit"}}, "p")) == "30m"
    assert (
        read_cache_mark(
            Object({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}, "p")
        )
        == "12h"
    )
    assert read_cache_mark(Object({"cache_control": {"type": "ephemeral"}}, "p")) == "5m"
    assert (
        read_cache_mark(Object({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "p")) == "1h"
    )
    with pytest.raises(ClientError, match=r"cache_control\.ttl"):
        read_cache_mark(Object({"cache_control": {"ttl": "1y"}}, "p"))
