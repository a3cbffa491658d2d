"""The SQL of this service by name, from `schema.sql`, `queries.sql` and `filters.sql`. Pure.

A statement may hold fragments, named in braces, which other statements share. The conditions of the
filters that a question gives are put in for each question. Values are never written into a
statement: they travel beside it as parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, get_type_hints

from analytics.questions import EQUAL
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
FILTERS = "{filters}"  # the place of a question's conditions in a statement
# What stands for a name in braces in a statement; a fragment may have names in braces itself.
INSERTED = FRAGMENTS | {"columns": ", ".join(STORED_COLUMNS), "cells": ", ".join(CELLS)}


def _complete(sql: str) -> str:
    parts = sql.split(FILTERS)
    return FILTERS.join(
        re.sub(r"\{(\w+)\}", lambda found: _complete(INSERTED[found[1]]), part) for part in parts
    )


STATEMENTS = {name: _complete(sql) for name, sql in FRAGMENTS.items()}
CONDITIONS = {name: f"{name} = ${name}" for name in EQUAL} | {
    name: _complete(sql) for name, sql in load_statements("filters.sql").items()
}


def with_filters(statement: str, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the statement with a condition for each filter among the parameters that is not None,
    and the parameters that it names.
    """
    given = tuple(name for name in CONDITIONS if parameters.get(name) is not None)
    sql, named = _filtered(statement, given)
    return sql, {name: parameters[name] for name in named}


@lru_cache(maxsize=256)
def _filtered(statement: str, given: tuple[str, ...]) -> tuple[str, list[str]]:
    """Return the statement with the conditions of the `given` filters, and the names of its
    parameters.
    """
    conditions = "".join(f" AND ({CONDITIONS[name]})" for name in given)
    sql = statement.replace(FILTERS, conditions)
    return sql, sorted(set(re.findall(r"\$(\w+)", sql)))
