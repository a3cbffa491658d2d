"""The SQL of this service: every fragment filled in, every migration in its order."""

from __future__ import annotations

import re

from analytics.statements import EXPORTS, MIGRATIONS, STATEMENTS, load_statements


def test_no_statement_holds_the_name_of_a_fragment() -> None:
    assert not {name for name, sql in STATEMENTS.items() if re.search(r"\{\w+\}", sql)}


def test_migrations_are_in_the_order_of_their_versions() -> None:
    versions = load_statements("schema.sql")
    assert [versions[str(number)] for number in range(1, len(versions) + 1)] == MIGRATIONS


def test_each_format_of_an_export_has_its_statement() -> None:
    assert {name for name, _ in EXPORTS.values()} <= STATEMENTS.keys()


def test_a_text_cell_of_a_spreadsheet_begins_with_no_formula() -> None:
    assert "concat(chr(39), model)" in STATEMENTS["export_text"]
    assert "concat(chr(39), duration_ms)" not in STATEMENTS["export_text"]
