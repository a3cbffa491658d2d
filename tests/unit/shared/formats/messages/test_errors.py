"""Errors keep their words and their kind on the way through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.formats.ir import Fail
from shared.formats.messages.errors import read_error, write_error


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_a_status_has_its_type(status: int, kind: str) -> None:
    assert write_error(Fail("why", status)) == {
        "type": "error",
        "error": {"type": kind, "message": "why"},
    }


def test_the_stable_code_travels_as_detail_and_the_request_id_at_the_top() -> None:
    written = write_error(Fail("Too long.", 400, "context_length_exceeded"), request_id="req_1")
    assert written["error"]["details"] == {"error_code": "context_length_exceeded"}
    assert written["request_id"] == "req_1"
    assert read_error(written, 400) == Fail("Too long.", 400, "context_length_exceeded")


def test_an_error_inside_a_stream_has_the_status_of_its_type() -> None:
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert read_error(overloaded, 0) == Fail("Overloaded", 529, "overloaded_error")
    assert read_error({"error": {"type": "brand_new_error", "message": "m"}}, 0).status == 502


@pytest.mark.parametrize("body", ["<html><body>Bad gateway</body></html>", "", {}, {"error": {}}])
def test_a_page_or_nothing_gives_a_sentence_instead(body: str) -> None:
    assert read_error(body, 503) == Fail("The provider gave no reason.", 503, "")


def test_words_outside_any_envelope_are_kept() -> None:
    assert read_error("no healthy upstream", 503).message == "no healthy upstream"
    assert read_error({"error": "flat"}, 400).message == "flat"
    assert read_error({"message": "Not found"}, 404) == Fail("Not found", 404)


@given(st.builds(Fail, st.text(min_size=1).filter(lambda text: not text.lstrip().startswith("<"))))
def test_the_words_survive(fail: Fail) -> None:
    assert read_error(write_error(fail), fail.status).message == fail.message
