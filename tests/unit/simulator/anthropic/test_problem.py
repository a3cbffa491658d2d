"""The envelope of a refusal."""

from __future__ import annotations

import orjson
import pytest

from simulator.anthropic.problem import AnthropicProblem, refuse


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (413, "request_too_large"), (529, "overloaded_error")],
)
def test_the_status_decides_the_type(status: int, kind: str) -> None:
    assert orjson.loads(AnthropicProblem(status, "no").envelope("req_1")) == {
        "type": "error",
        "error": {"type": kind, "message": "no"},
        "request_id": "req_1",
    }


def test_a_code_travels_in_the_details() -> None:
    error = orjson.loads(
        AnthropicProblem(400, "no", code="request_body_encoding_invalid").envelope("req_1")
    )["error"]
    assert error["details"] == {"error_code": "request_body_encoding_invalid"}


def test_refusing_is_a_400() -> None:
    with pytest.raises(AnthropicProblem) as caught:
        refuse("no")
    assert caught.value.status == 400
