"""An excerpt is small whatever it is taken from, and says what is missing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from shared.bus.channels import PermissionRequest, encode_payload
from shared.permissions.excerpts import WHOLE_BYTES, excerpt, refused_excerpt

DEEP: dict[str, Any] = {"command": "ls"}
for _ in range(900):
    DEEP = {"a": DEEP}


def test_a_small_input_is_kept_as_it_is() -> None:
    given = {"command": "ls", "options": {"all": True}}
    assert excerpt(given) is given


@pytest.mark.parametrize(
    "given",
    [
        {"command": "x" * 1_000_000},
        {"edits": [{"old": "x" * 100}] * 10_000},
        {f"field {number}": "y" * 500 for number in range(10_000)},
        {"k" * 100_000: 1},
        {"a": {"b": {"c": "漢" * 100_000}}},
        DEEP,
    ],
    ids=["text", "list", "fields", "name", "nested", "deep"],
)
def test_an_excerpt_is_small(given: dict[str, Any]) -> None:
    kept = excerpt(given)
    assert len(orjson.dumps(kept)) < 8 * WHOLE_BYTES
    assert "…" in orjson.dumps(kept).decode()


def test_an_excerpt_says_how_much_is_missing() -> None:
    assert excerpt({"command": "x" * 10_256})["command"].endswith("x… (10,000 more characters)")
    assert excerpt({str(number): "x" * 300 for number in range(20)})["…"] == "4 more fields"


def test_a_refused_request_travels_small_with_its_reason() -> None:
    text = "x" * 1_000_000
    request = PermissionRequest(
        "a", text, {"content": text}, text, "alice", text, working_directory=text, asker=text
    )
    refused = refused_excerpt(request, "too large")
    assert len(encode_payload(refused)) < 4096
    assert (refused.request_id, refused.caller, refused.refused) == ("a", "alice", "too large")
