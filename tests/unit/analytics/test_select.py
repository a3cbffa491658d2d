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
        "VALUES (1), (2)",
        "SELECT DISTINCT model FROM requests ORDER BY model DESC NULLS LAST LIMIT 5 OFFSET 1",
        "SELECT model COLLATE NOCASE FROM requests WHERE NOT (status_code BETWEEN 200 AND 299)",
        "SELECT replace(model, 'claude-', ''), model.replace('-', '_') FROM requests",
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
        ("WITH x AS (DELETE FROM hours) SELECT 1", "DELETE is not allowed"),
        ("WITH x AS (TRUNCATE hours) SELECT 1", "DELETE is not allowed"),
        ("WITH x AS (UPDATE hours SET requests = 1) FROM requests", "UPDATE is not allowed"),
        ("WITH x AS (INSERT INTO hours FROM hours RETURNING 1) FROM x", "INSERT is not allowed"),
        ("WITH x AS (COPY requests TO 'records.csv') FROM x", "COPY is not allowed"),
        ("UNPIVOT requests ON model", "PIVOT is not allowed"),
        ("SELECT DEFAULT", "DEFAULT is not allowed"),
        ("SELECT replace(path, 'x', 'xxxxxxxx') FROM requests", "no longer than"),
        ("SELECT path.replace('x', 'xxxxxxxx') FROM requests", "no longer than"),
        ("SELECT replace(path, 'e', 'é') FROM requests", "no longer than"),
        ("SELECT replace(path, model, '') FROM requests", "two texts in quotes"),
        ("SELECT replace(path) FROM requests", "two texts in quotes"),
    ],
)
def test_everything_else_is_refused_by_name(sql: str, words: str) -> None:
    with pytest.raises(ClientError, match=words):
        check_select(parsed(sql))


@pytest.mark.parametrize(
    "sql",
    [
        "WITH access_records AS (FROM requests) FROM access_records",
        "WITH a AS (FROM requests), b AS (FROM a) FROM B JOIN a USING (model)",
        "WITH a AS (SELECT 1 AS n) SELECT (SELECT max(n) FROM a) UNION SELECT n FROM a",
        "SELECT * FROM (WITH a AS (FROM hours) FROM a) WHERE EXISTS (FROM requests)",
        "WITH a AS (SELECT 1) FROM (WITH b AS (FROM a) FROM b, a)",
    ],
)
def test_a_name_given_by_with_is_a_table_where_it_is_known(sql: str) -> None:
    check_select(parsed(sql))


@pytest.mark.parametrize(
    "sql",
    [
        "WITH mine AS (FROM access_records) FROM mine",
        "WITH access_records AS (FROM access_records) FROM access_records",
        "FROM access_records, (WITH access_records AS (SELECT 1) SELECT 2)",
        "FROM access_records UNION ALL (WITH access_records AS (SELECT 1) SELECT 2)",
        "WITH a AS (FROM access_records), access_records AS (SELECT 1) FROM a",
        "SELECT (WITH access_records AS (SELECT 1) FROM access_records) FROM access_records",
        "WITH a AS (WITH access_records AS (SELECT 1) SELECT 2) FROM a, access_records",
    ],
)
def test_a_name_given_by_with_is_no_way_to_the_table_of_that_name(sql: str) -> None:
    with pytest.raises(ClientError, match="'access_records' is not among the tables"):
        check_select(parsed(sql))


def test_a_name_with_a_letter_that_only_python_lowers_names_no_table() -> None:
    with pytest.raises(ClientError, match="'duckdb_tables' is not among the tables"):
        check_select(parsed('WITH "duc\u212adb_tables" AS (SELECT 1) FROM duckdb_tables'))
