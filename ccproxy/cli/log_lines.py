"""The lines of the log that a person at the terminal waits for: a request that ended, a permission
request that waits.

Every text of a line comes from outside, so hidden characters are escaped; a line has no more than
two rows of the terminal.
"""

from __future__ import annotations

from typing import Any

from ccproxy.cli.figures import dollars_of_one, seconds_taken
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
    took = f"{seconds_taken(float(facts['duration_ms']))}s".rjust(7)
    if status < 400:
        cost = facts.get("cost_usd")
        cells += [cell(tokens_shown(facts), TOKENS_WIDTH), took]
        cells += [dollars_of_one(float(cost))] if cost is not None else []
    else:
        cells.append(took)
        begin = f"{when} {status} {' '.join(cells)} "
        room = max(20, 2 * columns - len(begin))
        cells.append(cut(visible_line(reason_of(facts, status)), room))
    return f"{DIM}{when}{RESET} {colour_of(status)}{status}{RESET} {' '.join(cells)}"


def permission_line(facts: dict[str, Any], when: str, url: str) -> str:
    """Return the line of a permission request that waits for a person at the stack at `url`."""
    tool = visible_line(str(facts.get("tool", "a tool")))
    caller = visible_line(str(facts.get("caller") or "an agent"))
    return (
        f"{DIM}{when}{RESET} {YELLOW}{BOLD}ask{RESET} {caller} wants to use {BOLD}{tool}{RESET}. "
        f"Answer with `ccproxy permission-handler` or at {url}/permissions/ui"
    )


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
