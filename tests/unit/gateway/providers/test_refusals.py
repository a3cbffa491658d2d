from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.providers.refusals import in_envelope


def refused(
    status: int, body: bytes | dict[str, Any], *headers: tuple[bytes, bytes]
) -> tuple[dict[bytes, bytes], Any]:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    found, envelope = in_envelope(status, list(headers), data)
    return dict(found), orjson.loads(envelope)["error"]


def test_a_detail_becomes_an_envelope_with_its_words() -> None:
    headers, error = refused(
        400, {"detail": "Unsupported parameter: user"}, (b"x-codex-plan-type", b"plus")
    )
    assert error == {
        "message": "Unsupported parameter: user", "type": "invalid_request_error", "param": None,
        "code": None
    }  # fmt: skip
    assert headers == {b"content-type": b"application/json", b"x-codex-plan-type": b"plus"}


def test_a_web_page_becomes_a_sentence() -> None:
    page = b"<!DOCTYPE html><html><title>Just a moment &amp; wait</title>" + b"x" * 10_000
    headers, error = refused(403, page, (b"content-type", b"text/html"))
    assert error["message"] == (
        "The provider answered 403 with a web page (Just a moment & wait); something between here "
        "and it said no."
    )
    assert error["type"] == "permission_error"
    assert headers[b"content-type"] == b"application/json"


def test_a_usage_limit_says_when_it_ends() -> None:
    limit = {
        "type": "usage_limit_reached",
        "message": "The usage limit has been reached",
        "plan_type": "plus",
    }
    limit |= {"resets_at": 1_790_000_000, "resets_in_seconds": 59.2}
    headers, error = refused(429, {"error": limit})
    assert headers[b"retry-after"] == b"60"
    assert (
        error["message"] == "The usage limit has been reached; it is reset at 2026-09-21 14:13 UTC."
    )
    assert (error["type"], error["resets_at"], error["code"]) == (
        "usage_limit_reached",
        1_790_000_000,
        None,
    )


@pytest.mark.parametrize(
    ("said", "wait"), [("in 11.054s", b"12"), ("in 300ms.", b"1"), ("in 2 s", b"2")]
)
def test_words_that_say_when_to_come_back_become_a_header(said: str, wait: bytes) -> None:
    headers, _ = refused(429, {"error": {"message": f"Rate limit. Please try again {said}"}})
    assert headers[b"retry-after"] == wait


def test_a_header_that_says_so_stays() -> None:
    headers, _ = refused(429, {"error": {"message": "try again in 9s"}}, (b"retry-after", b"3"))
    assert headers[b"retry-after"] == b"3"


def test_nothing_said_is_no_header() -> None:
    assert b"retry-after" not in refused(429, {"error": {"message": "no"}})[0]


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"", "The provider gave no reason."), (b"upstream is down", "upstream is down")],
)
def test_bare_text_is_kept(body: bytes, message: str) -> None:
    assert refused(502, body)[1]["message"] == message


def test_an_envelope_gets_its_four_fields_and_keeps_the_rest() -> None:
    error = refused(400, {"error": {"message": "m", "code": "cyber_policy", "more": 1}})[1]
    assert error == {"message": "m", "type": None, "param": None, "code": "cyber_policy", "more": 1}
