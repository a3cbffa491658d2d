"""Lists in pages, in the two ways of the service: by the id before or after, and by an opaque
cursor.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from simulator.anthropic.problem import refuse

Entry = dict[str, Any]


def page_by_id(entries: list[Entry], query: str) -> Entry:
    """Return the page wanted by `limit`, `after_id` and `before_id`."""
    asked = read_query(query, {"limit", "after_id", "before_id"})
    limit = read_limit(asked)
    ids = [entry["id"] for entry in entries]
    after = asked.get("after_id")
    before = asked.get("before_id")
    if after and before:
        refuse("after_id and before_id cannot be used together")
    for cursor in (after, before):
        if cursor and cursor not in ids:
            refuse(f"Invalid cursor: {cursor}")
    start = ids.index(after) + 1 if after else 0
    stop = ids.index(before) if before else len(ids)
    found = entries[start:stop]
    # Before a cursor the page next to the cursor is the wanted one, not the first.
    shown = found[-limit:] if before else found[:limit]
    return {
        "data": shown,
        "has_more": len(found) > limit,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def page_by_cursor(entries: list[Entry], asked: dict[str, str]) -> Entry:
    """Return the page wanted by `limit` and `page`."""
    limit = read_limit(asked)
    cursor = asked.get("page", "page_0")
    number = cursor.removeprefix("page_")
    if not cursor.startswith("page_") or not number.isdigit():
        refuse(f"Invalid page: {cursor}")
    start = int(number)
    shown = entries[start : start + limit]
    more = start + limit < len(entries)
    return {"data": shown, "has_more": more, "next_page": f"page_{start + limit}" if more else None}


def read_query(query: str, known: set[str]) -> dict[str, str]:
    """Return the parameters of a query; an unknown parameter is refused."""
    asked = parse_qs(query, keep_blank_values=True)
    asked.pop("beta", None)  # the official SDK adds it where a resource once was a beta
    for name in asked:
        if name.removesuffix("[]") not in known:
            refuse(f"{name}: Extra inputs are not permitted")
    return {name: ",".join(values) for name, values in asked.items()}


def read_limit(asked: dict[str, str]) -> int:
    limit = asked.get("limit", "20")
    if not limit.isdigit() or not 1 <= int(limit) <= 1000:
        refuse("limit: Input should be between 1 and 1000")
    return int(limit)
