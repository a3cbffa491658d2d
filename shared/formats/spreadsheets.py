"""Cells of a table that a spreadsheet opens."""

from __future__ import annotations

import re

# What a spreadsheet takes for the beginning of a formula; a pattern of Python and of DuckDB.
FORMULA = r"^[=+\-@\t\r]"


def without_formula(cell: str) -> str:
    """Return `cell` with an apostrophe in front if it looks like a formula."""
    return f"'{cell}" if re.match(FORMULA, cell) else cell
