from __future__ import annotations

import orjson
import pytest

from simulator.codex.problem import CodexProblem, backend_error, challenge, detail, refuse_parameter


def test_an_envelope_has_all_four_fields() -> None:
    assert orjson.loads(backend_error(400, "no").body)["error"].keys() == {
        "message",
        "type",
        "param",
        "code",
    }


def test_a_detail_is_all_there_is() -> None:
    assert (detail("no", 404).status, orjson.loads(detail("no").body)) == (404, {"detail": "no"})


def test_a_challenge_is_a_web_page() -> None:
    assert challenge().headers["content-type"].startswith("text/html")


def test_refusing_raises() -> None:
    with pytest.raises(CodexProblem, match="unknown_parameter"):
        refuse_parameter("no", "x", "unknown_parameter")
