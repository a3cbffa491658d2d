"""Errors as OpenAI's clients expect them, and as its services send them."""

from __future__ import annotations

import pytest

from shared.formats.ir import Fail
from shared.formats.openai_errors import error_code, read_error, write_error


@pytest.mark.parametrize(
    ("fail", "kind", "code"),
    [
        (Fail("no", 400), "invalid_request_error", None),
        (Fail("no", 400, "invalid_request_error"), "invalid_request_error", None),
        (
            Fail("prompt is too long: 9 > 8", 400),
            "invalid_request_error",
            "context_length_exceeded",
        ),
        (Fail("no", 401, "authentication_error"), "authentication_error", "invalid_api_key"),
        (Fail("no", 403, "permission_error"), "permission_error", None),
        (Fail("no", 429, "rate_limit_error"), "rate_limit_error", "rate_limit_exceeded"),
        (Fail("no", 429, "usage_limit_reached"), "rate_limit_error", "usage_limit_reached"),
        (Fail("no", 529, "overloaded_error"), "server_error", "server_is_overloaded"),
        (Fail("no", 502), "server_error", "server_error"),
    ],
)
def test_an_error_has_all_four_fields_and_a_code_clients_know(fail, kind, code):
    assert error_code(fail) == code
    assert write_error(fail) == {
        "error": {"message": fail.message, "type": kind, "param": None, "code": code}
    }


def test_an_error_names_the_field_at_fault():
    assert write_error(Fail("no", 400, param="input[0].role"))["error"]["param"] == "input[0].role"


@pytest.mark.parametrize(
    ("body", "status", "fail"),
    [
        (
            {
                "error": {
                    "message": "no",
                    "type": "invalid_request_error",
                    "param": "model",
                    "code": "model_not_found",
                }
            },
            404,
            Fail("no", 404, "model_not_found", "model"),
        ),
        (
            {"error": {"type": "usage_limit_reached", "message": "later"}},
            429,
            Fail("later", 429, "usage_limit_reached"),
        ),
        (
            {"error": {"code": "slow_down", "message": "later"}},
            503,
            Fail("later", 503, "slow_down"),
        ),
        ({"error": "bare words"}, 400, Fail("bare words", 400)),
        ({"detail": "Store must be set to false"}, 400, Fail("Store must be set to false", 400)),
        (
            {"detail": {"message": "no", "code": "token_expired"}},
            401,
            Fail("no", 401, "token_expired"),
        ),
        (
            {"message": "no", "code": "context_length_exceeded"},
            0,
            Fail("no", 400, "context_length_exceeded"),
        ),
        ({"message": "no", "code": "something_new"}, 0, Fail("no", 502, "something_new")),
        ("upstream connect error", 503, Fail("upstream connect error", 503)),
        ("<!doctype html><html>…", 403, Fail("The provider gave no reason.", 403)),
        ({}, 500, Fail("The provider gave no reason.", 500)),
    ],
)
def test_a_refusal_is_read_in_every_spelling(body, status, fail):
    assert read_error(body, status) == fail
