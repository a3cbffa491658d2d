"""What a database or a file could not take is refused where it is asked."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.runtime.bounds import LAST_SECOND, Count, Document, Moment


@pytest.mark.parametrize(
    "document", [{"a": "\ud83d"}, {"a": {"b": "\ud83d"}}, {"\udc00": 1}, {"a": [["x\ud800"]]}]
)
def test_a_document_that_other_services_cannot_take_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="half of a character"):
        TypeAdapter(Document).validate_python(document)


@pytest.mark.parametrize("document", [{}, {"a": [2**70, 1.5, None, True]}, {"a": "\U0001f600"}])
def test_any_other_document_is_kept_as_it_is(document: dict[str, Any]) -> None:
    assert TypeAdapter(Document).validate_python(document) == document


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((Moment, value) for value in (float("nan"), float("inf"), -1, LAST_SECOND + 1)),
        *((Count, value) for value in (2**31, -1)),
    ],
)
def test_a_number_out_of_its_bounds_is_refused(kind: Any, value: float) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)
