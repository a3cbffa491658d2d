"""The frames of `ccproxy top`: what the stack answered, in the part that the owner has chosen.

Pure: an answer or a key changes the view, and a frame is drawn from the view, the time and the
height of the terminal, to which the lists are cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ccproxy.cli.figures import second_of_day, time_taken
from ccproxy.cli.usage import (
    NAMELESS,
    NO_QUOTA,
    SPENT,
    WINDOWS,
    group_rows,
    spent_rows,
    window_rows,
)
from ccproxy.cli.waiting import WAITING, waiting_rows
from shared.runtime.times import local_clock
from shared.runtime.visible_text import visible_line

ANSWERED = ("TIME", "STATUS", "CLIENT", "MODEL", "TOKENS", "TOOK")
GROUPED = ("REQUESTS", "FAILED", "TOKENS", "COST")
PARTS = ("Overview", "Models", "Clients", "Requests")
KEYS = "q quits   Tab, arrows: next part   p pauses   ? all keys"
HELP = (
    ("q, Ctrl-C", "quit"),
    ("Tab, →, ↓, j", "next part"),
    ("Shift-Tab, ←, ↑, k", "part before"),
    ("1 to 4", "this part"),
    ("p", "pause, and go on"),
    ("?", "these keys, and back"),
)
# The keys as ccproxy/cli/permissions/keyboard.py names them, or as a terminal sends them.
FORWARD = frozenset({"\t", "down", "j", "l", "\x1b[C", "\x1bOC"})
BACK = frozenset({"up", "k", "h", "\x1b[Z", "\x1b[D", "\x1bOD"})
QUIT = frozenset({"q", "Q", "end"})
GOES_ON = "The view goes on as soon as there is an answer."
NONE_YET = "No request to a provider yet."
HEAD_ROWS = 3
TITLE_ROWS = 1
MOST_WAITING = 8  # of the requests that wait: the other tables need their room too

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Overview:
    """The answers that a frame shows."""

    usage: Facts
    models: list[Facts]
    clients: list[Facts]
    recent: list[Facts]
    waiting: list[Facts] = field(default_factory=list)


class TopView:
    """The chosen part, the last answer, and whether the view is paused or shows its keys."""

    def __init__(self, found: Overview) -> None:
        self._found = found
        self._problem = ""
        self._part = 0
        self._shows_help = False
        self.is_paused = False

    def show(self, found: Overview) -> None:
        self._found = found
        self._problem = ""

    def show_problem(self, problem: str) -> None:
        """Show the reason why there is no answer, until the next answer."""
        self._problem = problem

    def press(self, pressed: str) -> bool:
        """Change the view by the keys of one read; return False for a key that ends the view."""
        known = pressed in FORWARD | BACK | QUIT
        return all(self._press(key) for key in ([pressed] if known else pressed))

    def _press(self, key: str) -> bool:
        if key in QUIT:
            return False
        if key == "?":
            self._shows_help = not self._shows_help
            return True
        if key == "p":
            self.is_paused = not self.is_paused
        elif key in FORWARD | BACK:
            step = 1 if key in FORWARD else -1
            self._part = (self._part + step) % len(PARTS)
            self._shows_help = False
        elif key.isascii() and key.isdigit() and 0 < int(key) <= len(PARTS):
            self._part = int(key) - 1
            self._shows_help = False
        return True

    def frame(self, now: float, height: int) -> Group:
        """Return the frame at `now`, in UTC seconds, for a terminal with `height` rows."""
        return Group(
            self._tabs(now),
            Text(KEYS, "dim", no_wrap=True, overflow="ellipsis"),
            Text(),
            *self._body(now, max(0, height - HEAD_ROWS)),
        )

    def _tabs(self, now: float) -> Text:
        tabs = Text(f"CCProxy  {second_of_day(now)}  ", "bold", no_wrap=True, overflow="ellipsis")
        for place, part in enumerate(PARTS):
            tabs.append(f" {part} ", "reverse" if place == self._part else "not bold")
        if self.is_paused:
            tabs.append("  paused", "yellow")
        return tabs

    def _body(self, now: float, rows: int) -> list[RenderableType]:
        if self._shows_help:
            return [plain_table(("KEY", "DOES"), HELP[: max(0, rows - TITLE_ROWS)])]
        if self._problem:
            return [Text(visible_line(self._problem), "red"), Text(GOES_ON, "dim")]
        found = self._found
        if PARTS[self._part] == "Overview":
            return overview_body(found, now, rows)
        if problem := found.usage["problem"]:
            return [Text(visible_line(problem), "yellow")]
        room = max(0, rows - TITLE_ROWS)
        if PARTS[self._part] == "Models":
            return [group_table("MODEL", found.models[:room], NAMELESS["model"])]
        if PARTS[self._part] == "Clients":
            return [group_table("CLIENT", found.clients[:room], NAMELESS["client_program"])]
        return [request_table(found.recent[:room])]


def overview_body(found: Overview, now: float, rows: int) -> list[RenderableType]:
    """Return the windows, what waits, the cost, and as many of the last requests as `rows` have
    room for.
    """
    windows = list(window_rows(found.usage["quota"], now))
    parts: list[RenderableType] = [window_table(windows), Text()]
    waiting = list(waiting_rows(found.waiting[:MOST_WAITING], now))
    if waiting:
        parts += [plain_table(WAITING, waiting), Text()]
        rows -= len(waiting) + TITLE_ROWS + 1
    if problem := found.usage["problem"]:
        return [*parts, Text(visible_line(problem), "yellow")]
    spent = list(spent_rows(found.usage["spent"]))
    room = rows - len(windows) - len(spent) - 3 * TITLE_ROWS - 2
    parts += [plain_table(SPENT, spent), Text()]
    return [*parts, request_table(found.recent[:room])] if room > 0 else parts


def overview_frame(found: Overview, now: float, *, groups: int, recent: int) -> Group:
    """Return all tables of `found` as they are shown at `now`, in UTC seconds, with at most
    `groups` rows of each kind and `recent` requests.
    """
    usage = found.usage
    parts: list[RenderableType] = [
        Text(f"CCProxy  {second_of_day(now)}", "bold"),
        window_table(list(window_rows(usage["quota"], now))),
    ]
    if found.waiting:
        parts += [Text(), plain_table(WAITING, waiting_rows(found.waiting, now))]
    if usage["problem"]:
        return Group(*parts, Text(visible_line(usage["problem"]), "yellow"))
    return Group(
        *parts,
        Text(),
        plain_table(SPENT, spent_rows(usage["spent"])),
        Text(),
        group_table("MODEL", found.models[:groups], NAMELESS["model"]),
        Text(),
        group_table("CLIENT", found.clients[:groups], NAMELESS["client_program"]),
        Text(),
        request_table(found.recent[:recent]),
    )


def window_table(windows: Sequence[Sequence[str]]) -> RenderableType:
    """Return the table of the subscriptions' windows, or a sentence where none is known."""
    return plain_table(WINDOWS, windows) if windows else Text(NO_QUOTA, "dim")


def group_table(title: str, groups: list[Facts], nameless: str) -> RenderableType:
    """Return the table of the groups of one kind, or a sentence where there is none."""
    if not groups:
        return Text(NONE_YET, "dim")
    return plain_table((f"{title}, 24 H", *GROUPED), group_rows(groups, nameless))


def request_table(entries: list[Facts]) -> RenderableType:
    """Return the table of the last requests, or a sentence where there is none."""
    return plain_table(ANSWERED, map(request_cells, entries)) if entries else Text(NONE_YET, "dim")


def request_cells(entry: Facts) -> tuple[str, ...]:
    prompt = entry["tokens_input"] + entry["cache_read_tokens"] + entry["cache_write_tokens"]
    return (
        local_clock(entry["timestamp"]),
        str(entry["status_code"]),
        str(entry["caller"] or entry["client_program"]),
        str(entry["model"]),
        f"{prompt:,} → {entry['tokens_output']:,}",
        time_taken(entry["duration_ms"]),
    )


def plain_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table of `rows`, each cell on one row with hidden characters escaped."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(Text(column), no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(visible_line(cell)) for cell in row))
    return table
