"""Only a SELECT over the records, made of functions that are named."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest

from analytics.select import check_select
from shared.runtime.errors import ClientError


def parsed(sql: str) -> Any:
    with duckdb.connect() as connection:
        return json.loads(
            connection.execute("SELECT json_serialize_sql($1::VARCHAR)", [sql]).fetchall()[0][0]
        )


@pytest.mark.parametrize(
    "sql",
    [
        "FROM requests",
        (
            "SELECT model, count(*), sum(tokens_input), quantile_cont(duration_ms, 0.95) FROM requests "
            "GROUP BY model"
        ),
        (
            "WITH slow AS (FROM requests WHERE duration_ms > 1000) SELECT count(*) FILTER (status_code "
            "= 200) FROM slow"
        ),
        (
            "SELECT date_trunc('day', timestamp) AS day, sum(cost_usd) FROM hours GROUP BY 1 ORDER BY "
            "1"
        ),
        (
            "SELECT a.model FROM requests a JOIN hours b USING (model) UNION ALL SELECT model FROM "
            "hours"
        ),
        (
            "SELECT rank() OVER (PARTITION BY model ORDER BY cost_usd), lag(model) OVER () FROM "
            "Requests"
        ),
        (
            "SELECT CASE WHEN model LIKE 'claude-%' THEN 1 END, extract(hour FROM timestamp) FROM "
            "requests"
        ),
        "SELECT 1 + 2",
    ],
)
def test_questions_about_the_records_are_allowed(sql: str) -> None:
    check_select(parsed(sql))


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("FROM access_records", "access_records"),
        ("FROM permission_audit", "permission_audit"),
        ("FROM duckdb_settings()", "functions in FROM"),
        ("FROM information_schema.tables", "tables"),
        ("SELECT * FROM other.main.requests", "requests"),
        ("FROM 'file.parquet'", "file.parquet"),
        ("SELECT (SELECT max(x) FROM range(10) t(x))", "functions in FROM"),
        ("FROM requests WHERE model IN (FROM read_text('/etc/passwd'))", "functions in FROM"),
        ("SELECT repeat('x', 1000000000)", "repeat"),
        ("SELECT list_transform([1], x -> x)", "not allowed"),
        ("SELECT nextval('s')", "nextval"),
        ("WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) FROM t", "recursive"),
        ("SUMMARIZE requests", "SUMMARIZE"),
        ("SHOW TABLES", "SHOW"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("DROP TABLE requests", "SELECT"),
        ("", "statement"),
    ],
)
def test_everything_else_is_refused_by_name(sql: str, words: str) -> None:
    with pytest.raises(ClientError, match=words):
        check_select(parsed(sql))


def test_a_name_given_in_the_query_is_no_way_to_another_table() -> None:
    check_select(parsed("WITH access_records AS (FROM requests) FROM access_records"))
    with pytest.raises(ClientError, match="access_records"):
        check_select(parsed("WITH mine AS (FROM access_records) FROM mine"))
