"""Access records as they travel and as they lie on disk: a table whose columns are named once.

With a name beside every value they take three times the room and the time. The names let processes
of two versions talk: a column nobody knows is left out, one that is missing has its default.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from typing import Any, get_type_hints

import orjson
from pydantic import TypeAdapter

from shared.bus.channels import AccessRecord
from shared.formats.json_text import whole
from shared.runtime.errors import ClientError
from shared.runtime.exact_json import dump_json, load_json

WATCHED_KEY = "logs:watched"  # is there while somebody wants to know what has begun
BEGUN = b'{"begun":'
FIELDS_OF_BEGUN = (
    "request_id timestamp method path model streaming service_type provider client_format caller "
    "session_id client_program client_version"
)
COLUMNS = [field.name for field in fields(AccessRecord)]
row_of = attrgetter(*COLUMNS)
# The columns of the table of records; fingerprints have a table of their own.
STORED_COLUMNS = [name for name in COLUMNS if name != "fingerprint"]
stored_row_of = attrgetter(*STORED_COLUMNS)
RECORDS = TypeAdapter(list[AccessRecord])
BEGUN_SHAPE = TypeAdapter(dict[str, list[dict[str, Any]]])
ROWS: TypeAdapter[Any] = TypeAdapter(list[tuple[tuple(get_type_hints(AccessRecord).values())]])  # type: ignore[arg-type, misc]


def pack(records: Iterable[AccessRecord]) -> dict[str, Any]:
    return {"columns": COLUMNS, "rows": [row_of(record) for record in records]}


def pack_begun(records: Iterable[AccessRecord]) -> dict[str, Any]:
    """Return unfinished requests as a message for watchers. The message is not stored."""
    names = FIELDS_OF_BEGUN.split()
    return {
        "begun": [
            {"type": "request_start"} | {name: getattr(each, name) for name in names}
            for each in records
        ]
    }


def unpack_begun(data: bytes) -> list[dict[str, Any]] | None:
    """Return the events of `pack_begun`; None if `data` holds none."""
    if not data.startswith(BEGUN):
        return None
    try:
        return BEGUN_SHAPE.validate_python(load_table(data))["begun"]
    except ValueError:  # pydantic's ValidationError is one
        return None


def unpack(data: bytes) -> list[AccessRecord]:
    """Return the records in `data`. Raises ClientError if `data` is no table, or if any record does
    not fit.
    """
    try:
        table = load_table(data)
        # The usual case, written by a process of the same version: rows become records without a
        # detour through names.
        if table["columns"] == COLUMNS:
            return [AccessRecord(*row) for row in ROWS.validate_python(table["rows"])]
        # A process of another version: each value takes its column's name, so that unknown columns
        # drop out and missing ones get their defaults.
        named = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
        return RECORDS.validate_python(named)
    except (KeyError, TypeError, ValueError) as error:
        raise ClientError(f"records: {error}") from error


def load_table(data: bytes) -> Any:
    """Return the table in `data`, with U+FFFD for halves of surrogate pairs, which no database
    stores. Raises ValueError.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        # Written again, so that a number beyond 64 bits is read in the same way in every table.
        return orjson.loads(dump_json(whole(load_json(data))))


def split_batch(data: bytes) -> list[bytes]:
    """Return a table for every record; data that is no table is returned as the only part."""
    try:
        table = load_table(data)
        return [orjson.dumps(table | {"rows": [row]}) for row in table["rows"]]
    except (KeyError, TypeError, ValueError):
        return [data]
