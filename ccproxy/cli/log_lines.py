"""The lines of the log that a person at the terminal waits for: a request that ended, a permission
request that waits.

Every text of a line comes from outside, so hidden characters are escaped; a line has no more than
two rows of the terminal.
"""

from __future__ import annotations

from typing import Any

from ccproxy.cli.figures import dollars_of_one, time_taken
from ccproxy.cli.wrapping import wrapped_rows
from shared.runtime.visible_text import cut, visible_line

DIM = "\033[2m"
BOLD = "\033[1m"
GREEN = "\033[32m"
YELLOW = "\033[33m"
RED = "\033[31m"
RESET = "\033[0m"
# The widths of the columns: together with the cost a line fits 80 columns.
CLIENT_WIDTH = 12
ROUTE_WIDTH = 6
MODEL_WIDTH = 18
TOKENS_WIDTH = 12
ROUTES = frozenset({"api", "sdk", "codex"})
CLIENT_LEFT = 499  # as in nginx
SECOND_ROW = " " * 13  # below the client


def request_line(facts: dict[str, Any], when: str, columns: int = 80) -> str:
    """Return the line of the request with `facts` (gateway/server/request_line.py), which ended at
    the time of day `when`. `columns` is the width of the terminal.

    A failed request shows the reason in place of tokens and cost.
    """
    status = int(facts["status"])
    client = str(facts.get("caller") or facts.get("client") or "-")
    cells = [
        cell(client, CLIENT_WIDTH),
        cell(route_of(str(facts["path"])), ROUTE_WIDTH),
        cell(served_model(facts), MODEL_WIDTH),
    ]
    took = time_taken(float(facts["duration_ms"])).replace(" ", "").rjust(7)
    if status < 400:
        cost = facts.get("cost_usd")
        cells += [cell(tokens_shown(facts), TOKENS_WIDTH), took]
        cells += [dollars_of_one(float(cost))] if cost is not None else []
        rows = [f"{when} {status} {' '.join(cells)}"]
    else:
        cells += [took, visible_line(reason_of(facts, status))]
        rows = two_rows(f"{when} {status} {' '.join(cells)}", columns)
    return begun_in_colour(rows, when, str(status), colour_of(status))


def permission_line(facts: dict[str, Any], when: str, url: str, columns: int = 80) -> str:
    """Return the line of a permission request that waits for a person at the stack at `url`."""
    tool = visible_line(str(facts.get("tool", "a tool")))
    caller = visible_line(str(facts.get("caller") or "an agent"))
    text = (
        f"{when} ask {caller} wants to use {tool}. "
        f"Answer with `ccproxy permission-handler` or at {url}/permissions/ui"
    )
    rows = wrapped_rows(text, columns, SECOND_ROW)
    return begun_in_colour(rows, when, "ask", f"{YELLOW}{BOLD}")


def two_rows(text: str, columns: int) -> list[str]:
    """Return `text` in at most two rows of whole words; a longer text ends with "…"."""
    rows = wrapped_rows(text, columns, SECOND_ROW)
    if len(rows) <= 2:
        return rows
    return [rows[0], cut(f"{rows[1]} {rows[2].lstrip()}", columns)]


def begun_in_colour(rows: list[str], when: str, word: str, colour: str) -> str:
    """Return `rows`, the first of which begins with the time of day and `word`, as one text with
    these two in colour.
    """
    rest = "\n".join(rows).removeprefix(f"{when} {word}")
    return f"{DIM}{when}{RESET} {colour}{word}{RESET}{rest}"


def route_of(path: str) -> str:
    """Return `/api`, `/sdk` or `/codex` for an address of that route, else the whole path."""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return f"/{first}" if first in ROUTES else path


def served_model(facts: dict[str, Any]) -> str:
    """Return the served model, after the requested model where the two differ."""
    served = str(facts.get("model", ""))
    asked = str(facts.get("asked_model", ""))
    return f"{asked}→{served}" if asked and served and asked != served else served or asked


def tokens_shown(facts: dict[str, Any]) -> str:
    """Return the tokens of the prompt and of the reply, or nothing where none were counted."""
    into = int(facts.get("tokens_input", 0))
    out = int(facts.get("tokens_output", 0))
    return f"{short(into)} → {short(out)}" if into or out else ""


def reason_of(facts: dict[str, Any], status: int) -> str:
    if message := str(facts.get("error_message", "")):
        return message
    return "the client left" if status == CLIENT_LEFT else str(facts.get("error_kind", ""))


def short(count: int) -> str:
    """Return `count` in at most five characters: 340, 1.2k, 12.3k, 150k, 1.2M."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if count >= unit:
            scaled = count / unit
            return f"{scaled:.0f}{name}" if scaled >= 100 else f"{scaled:.1f}{name}"
    return str(count)


def colour_of(status: int) -> str:
    if status < 400:
        return GREEN
    return YELLOW if status < 500 else RED


def cell(text: str, width: int) -> str:
    """Return `text` padded to `width`; a longer text stays whole."""
    return visible_line(text).ljust(width)
