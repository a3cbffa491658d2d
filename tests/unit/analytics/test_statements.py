"""The SQL of this service: every fragment filled in, every migration in its order."""

from __future__ import annotations

import re
from datetime import datetime

from analytics.questions import EQUAL, TESTED, Filter
from analytics.statements import (
    CONDITIONS,
    EXPORTS,
    MIGRATIONS,
    STATEMENTS,
    load_statements,
    with_filters,
)

TIMES = {"start_time": datetime(2026, 1, 1), "end_time": datetime(2026, 1, 2)}  # noqa: DTZ001


def test_no_statement_holds_the_name_of_a_fragment_but_the_place_of_filters() -> None:
    held = {word for sql in STATEMENTS.values() for word in re.findall(r"\{\w+\}", sql)}
    assert held == {"{filters}"}
    assert not {name for name, sql in CONDITIONS.items() if re.search(r"\{\w+\}", sql)}


def test_a_statement_gets_the_conditions_of_the_given_filters_alone() -> None:
    wanted = Filter(model="m", failed=False, service_type="!gateway", status_min=0).bound()
    sql, named = with_filters(STATEMENTS["export"], wanted)
    assert sql.count(" AND (") == 4
    assert "(model = $model)" in sql
    assert named.keys() == {
        "start_time", "end_time", "model", "failed", "services_left_out", "status_min",
    }  # fmt: skip
    assert named["failed"] is False


def test_a_question_without_filters_has_the_time_alone() -> None:
    sql, named = with_filters("FROM t WHERE " + STATEMENTS["matching"], Filter().bound() | TIMES)
    assert sql.endswith("timestamp >= $start_time AND timestamp < $end_time")
    assert named == TIMES


def test_each_filter_has_a_condition() -> None:
    assert CONDITIONS.keys() == {*EQUAL, *TESTED, "services", "services_left_out"}


def test_migrations_are_in_the_order_of_their_versions() -> None:
    versions = load_statements("schema.sql")
    assert [versions[str(number)] for number in range(1, len(versions) + 1)] == MIGRATIONS


def test_each_format_of_an_export_has_its_statement() -> None:
    assert {name for name, _ in EXPORTS.values()} <= STATEMENTS.keys()


def test_a_text_cell_of_a_spreadsheet_begins_with_no_formula() -> None:
    assert "concat(chr(39), model)" in STATEMENTS["export_text"]
    assert "concat(chr(39), duration_ms)" not in STATEMENTS["export_text"]
