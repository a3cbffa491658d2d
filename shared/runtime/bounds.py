"""The types of what people and programs may ask for: a number that a database gets has bounds, and
every text can be written as UTF-8.

JSON has integers of any size and can spell half of a surrogate pair. The types are described in
`/openapi.json` as they are checked. Integers inside a document travel exactly
(`shared/bus/channels.py`), whatever their size.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from shared.formats.json_text import is_whole

LAST_SECOND = 253_402_300_799.0  # the end of the year 9999, where Python's calendar ends
LARGEST = 2**31 - 1
LARGEST_STATUS = 999

Moment = Annotated[
    float, Field(ge=0, le=LAST_SECOND, allow_inf_nan=False, description="UTC seconds")
]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Status = Annotated[int, Field(ge=0, le=LARGEST_STATUS)]
Hours = Annotated[int, Field(ge=1, le=24 * 366)]
Bucket = Annotated[int, Field(ge=0, le=31 * 86_400)]


def check_document(document: dict[str, Any]) -> dict[str, Any]:
    """Return `document`. Raises ValueError for half of a surrogate pair at any depth."""
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and not is_whole(value):
            raise ValueError("a text holds half of a character (an unpaired surrogate)")
    return document


Document = Annotated[dict[str, Any], AfterValidator(check_document)]
