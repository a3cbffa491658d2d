"""The SQL that a person may run: one SELECT over the records, made of functions that are known to
be harmless. Pure.

Judged from DuckDB's own syntax tree, so nothing depends on how a statement is spelled. Tables and
functions are named here one by one; what is not named is refused, whatever a later version of
DuckDB may bring.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shared.runtime.errors import ClientError

TABLES = frozenset({"requests", "hours"})
# Sources of rows that are no table, and what can make much out of little.
FORBIDDEN = {
    "TABLE_FUNCTION": "functions in FROM",
    "SHOW_REF": "SHOW, DESCRIBE and SUMMARIZE",
    "RECURSIVE_CTE_NODE": "recursive queries",
    "PIVOT": "PIVOT",
    "LAMBDA": "lambdas",
}
FUNCTIONS = frozenset(
    """
    + - * / // % ** ^ ~~ !~~ ~~* !~~* || abs approx_count_distinct approx_quantile avg bool_and
    bool_or ceil ceiling coalesce concat contains corr count count_star date_diff date_part date_sub
    date_trunc day dayname dayofweek ends_with epoch epoch_ms floor geomean greatest hour if ifnull
    least left len length ln log10 lower ltrim make_date max median min minute mode month monthname
    not_like_escape like_escape now nullif prefix quantile quantile_cont quantile_disc
    regexp_matches replace right round rtrim second skewness split_part starts_with stddev
    stddev_pop stddev_samp strftime strptime substr substring suffix sum time_bucket to_days
    to_hours to_minutes to_months to_seconds to_timestamp to_weeks to_years today trim trunc upper
    var_pop var_samp variance week year yearweek cume_dist dense_rank first_value lag last_value
    lead nth_value ntile percent_rank rank row_number any_value arg_max arg_min first last arbitrary
    current_date current_timestamp get_current_timestamp
    """.split()  # noqa: SIM905
)


def check_select(parsed: Any) -> None:
    """Check the statement `parsed`, an answer of json_serialize_sql. Raises ClientError naming the
    forbidden part.
    """
    if parsed.get("error"):
        raise _refused(str(parsed.get("error_message") or "it cannot be parsed").rstrip("."))
    if len(parsed["statements"]) != 1:
        raise _refused("it must be one statement")
    # The names given by WITH are collected from the whole statement first, because a table may be
    # used before its definition comes in the tree.
    named = {key for node in _nodes(parsed) for key in _common_tables(node)}
    for node in _nodes(parsed):
        _check_node(node, TABLES | named)


def _check_node(node: dict[str, Any], tables: frozenset[str]) -> None:
    kind = node.get("type")
    if isinstance(kind, str) and kind in FORBIDDEN:
        raise _refused(f"{FORBIDDEN[kind]} are not allowed")
    if kind == "BASE_TABLE":
        name = str(node.get("table_name"))
        if name.lower() not in tables or node.get("schema_name") or node.get("catalog_name"):
            raise _refused(f"{name!r} is not among the tables {', '.join(sorted(TABLES))}")
    function = node.get("function_name")
    if function is not None and str(function).lower() not in FUNCTIONS:
        raise _refused(f"the function {function!r} is not allowed")


def _common_tables(node: dict[str, Any]) -> Iterator[str]:
    """Names given by WITH."""
    common = node.get("cte_map")
    if isinstance(common, dict):
        yield from (str(entry["key"]).lower() for entry in common.get("map", ()))


def _nodes(parsed: Any) -> Iterator[dict[str, Any]]:
    """Every object of the tree; without recursion, as a statement may nest as deep as it likes."""
    waiting = [parsed]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _refused(why: str) -> ClientError:
    return ClientError(
        f"sql: only one SELECT over {' and '.join(sorted(TABLES))} can be run here: {why}.",
        param="sql",
    )
