"""The SQL of this service by name, from `schema.sql` and `queries.sql`. Pure.

A statement may hold fragments, named in braces, which other statements share. Values are never
written into a statement: they travel beside it as parameters.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import get_type_hints

from shared.bus.channels import AccessRecord
from shared.bus.records import STORED_COLUMNS
from shared.formats.spreadsheets import FORMULA


def load_statements(name: str) -> dict[str, str]:
    """Return the statements of an SQL file of this package, by the names given in `--
    name:` lines.
    """
    text = files("analytics").joinpath(name).read_text()
    _, *parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {key: body.strip() for key, body in zip(parts[::2], parts[1::2], strict=True)}


MIGRATIONS = [
    sql
    for _, sql in sorted((int(name), sql) for name, sql in load_statements("schema.sql").items())
]
FRAGMENTS = load_statements("queries.sql")
CELLS = [
    f"if(regexp_matches({name}, '{FORMULA}'), concat(chr(39), {name}), {name}) AS {name}"
    if kind is str
    else name
    for name, kind in get_type_hints(AccessRecord).items()
    if name in STORED_COLUMNS
]
# How each format is written, and by which statement.
EXPORTS = {
    "parquet": ("export", "FORMAT parquet, COMPRESSION zstd"),
    "csv": ("export_text", "FORMAT csv, HEADER"),
}
# What stands for a name in braces in a statement; a fragment may have names in braces itself.
INSERTED = FRAGMENTS | {"columns": ", ".join(STORED_COLUMNS), "cells": ", ".join(CELLS)}


def _complete(sql: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: _complete(INSERTED[found[1]]), sql)


STATEMENTS = {name: _complete(sql) for name, sql in FRAGMENTS.items()}
