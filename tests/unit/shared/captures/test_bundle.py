"""A bundle is read as it was written, and has no secret of the corpus."""

from __future__ import annotations

import json

import pytest

from shared.captures.bundle import read_bundle, write_bundle
from shared.captures.capture import Capture, NotACapture, Part, Summary
from tests.support.secret_corpus import corpus
from tests.unit.shared.captures.test_capture import CAPTURE


def test_a_bundle_is_read_as_it_was_written() -> None:
    assert read_bundle(write_bundle([CAPTURE, CAPTURE])) == [CAPTURE, CAPTURE]


def test_a_bundle_has_no_secret_of_the_corpus() -> None:
    captures = [
        Capture(
            Summary("req_" + "1" * 24, 1.0, query=f"text={text}", error=text),
            Part([["user-agent", text]], json.dumps({"text": text}), chunks=[[3, 0.0]]),
            Part(address=f"https://example.test/?q={text}", body=text),
        )
        for text, _ in corpus()
    ]
    bundle = write_bundle(captures).decode()
    assert [text for text, secret in corpus() if secret in bundle] == []


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"ccproxy_bundle":2,"captures":[]}', b'{"ccproxy_bundle":1}']
)
def test_another_file_is_no_bundle(data: bytes) -> None:
    with pytest.raises(NotACapture):
        read_bundle(data)
