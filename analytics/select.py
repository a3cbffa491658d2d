"""The SQL that a person may run: one SELECT over the records, made of parts and functions that are
known to be harmless. Pure.

Judged from DuckDB's own syntax tree, so nothing depends on how a statement is spelled. Tables,
functions and the parts of a query are named here one by one; a name that is missing is refused,
whatever a later version of DuckDB may bring. `analytics/store.py` runs a checked statement in a
read-only transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shared.runtime.errors import ClientError

# Views of `analytics/queries.sql`; the stack's own requests are in `own_requests` alone.
TABLES = frozenset({"requests", "own_requests", "hours"})
NAMED_TABLES = "requests, own_requests and hours"
# The parts of a syntax tree: an expression by its class, everything else by its type. DuckDB takes
# INSERT, UPDATE, DELETE and COPY inside WITH, so a list of forbidden parts would not do.
PARTS = frozenset(
    """
    SELECT_NODE SET_OPERATION_NODE BASE_TABLE EMPTY EXPRESSION_LIST JOIN SUBQUERY DISTINCT_MODIFIER
    LIMIT_MODIFIER ORDER_MODIFIER ASCENDING DESCENDING ORDER_DEFAULT BETWEEN CASE CAST COLLATE
    COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION OPERATOR PARAMETER POSITIONAL_REFERENCE STAR
    TYPE WINDOW
    """.split()  # noqa: SIM905
)
# How a part that is often tried is called in the refusal.
CALLED = {
    "TABLE_FUNCTION": "functions in FROM are",
    "SHOW_REF": "SHOW, DESCRIBE and SUMMARIZE are",
    "RECURSIVE_CTE_NODE": "recursive queries are",
    "LAMBDA": "lambdas are",
    "INSERT_QUERY_NODE": "INSERT is",
    "UPDATE_QUERY_NODE": "UPDATE is",
    "DELETE_QUERY_NODE": "DELETE is",
    "COPY_QUERY_NODE": "COPY is",
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
    for node, tables in _nodes(parsed):
        _check_node(node, tables)


def _check_node(node: dict[str, Any], tables: frozenset[str]) -> None:
    part = node.get("class") or node.get("type")
    if isinstance(part, str) and part not in PARTS:
        raise _refused(f"{CALLED.get(part, f'{part} is')} not allowed")
    if part == "BASE_TABLE":
        name = str(node.get("table_name"))
        if _lower(name) not in tables or node.get("schema_name") or node.get("catalog_name"):
            raise _refused(f"{name!r} is not among the tables {NAMED_TABLES}")
    function = node.get("function_name")
    if function is None:
        return
    if str(function).lower() not in FUNCTIONS:
        raise _refused(f"the function {function!r} is not allowed")
    if str(function).lower() == "replace":
        _check_replacement(node.get("arguments", []))


def _check_replacement(arguments: list[dict[str, Any]]) -> None:
    """Refuse a replacement that could lengthen a text: DuckDB builds the result outside of the
    memory limit, and deaf to an interrupt.
    """
    # `text.replace(old, new)` has its text in another place, so the last two arguments count.
    literals = [argument["expression"].get("literal") or {} for argument in arguments[-2:]]
    texts = [item["text"] for item in literals if item.get("kind") == "STRING"]
    if len(texts) != 2 or len(texts[1].encode()) > len(texts[0].encode()):
        raise _refused(
            "replace() takes two texts in quotes, and the new text is no longer than the old one"
        )


def _nodes(parsed: Any) -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
    """Yield every object of the tree with the tables known there; without recursion, as a statement
    may nest as deep as it likes.
    """
    waiting = [(parsed, TABLES)]
    while waiting:
        node, tables = waiting.pop()
        if isinstance(node, list):
            waiting.extend((item, tables) for item in node)
        elif isinstance(node, dict):
            # A name given by WITH is known to the later definitions and to the query below them.
            # Elsewhere, and in its own definition, it is the name of a stored table.
            for definition in (node.get("cte_map") or {}).get("map", ()):
                waiting.append((definition["value"], tables))
                tables |= {_lower(definition["key"])}
            waiting.extend((part, tables) for key, part in node.items() if key != "cte_map")
            yield node, tables


def _lower(name: str) -> str:
    """Return `name` as DuckDB compares names: letters beyond ASCII keep their case."""
    return name.lower() if name.isascii() else name


def _refused(why: str) -> ClientError:
    return ClientError(
        f"sql: only one SELECT over {NAMED_TABLES} can be run here: {why}.",
        param="sql",
    )
