"""Cells that a spreadsheet would take for formulas."""

from __future__ import annotations

import duckdb
import pytest

from shared.formats.spreadsheets import FORMULA, without_formula

CELLS = ["=cmd()", "+1", "-1", "@sum", "\tx", "\rx", "a=b", "", "plain", "x\n=1"]


@pytest.mark.parametrize("cell", CELLS)
def test_python_and_the_database_agree_on_what_is_a_formula(cell: str) -> None:
    found = duckdb.execute("SELECT regexp_matches(?, ?)", [cell, FORMULA]).fetchone()
    assert found == (without_formula(cell) != cell,)


def test_a_formula_gets_an_apostrophe_in_front() -> None:
    assert [without_formula(cell) for cell in CELLS[:2]] == ["'=cmd()", "'+1"]
    assert [without_formula(cell) for cell in CELLS[6:]] == CELLS[6:]
