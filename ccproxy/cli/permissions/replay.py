"""`ccproxy permissions replay`: the past requests as another rules file would have decided them.

The permission service decides; the command sends the file and prints the answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ccproxy.cli.output import show_line, show_table
from shared.permissions.input_lines import one_line
from shared.runtime.times import UNIT_SECONDS, local_minute, read_span
from shared.settings.problems import ConfigurationError

BECOMES = {"allow": "allowed", "deny": "denied", "ask": "asked of a person"}


def read_days(since: str) -> float:
    """Return the number of days in a span like `30d` or `12h`. Raises ConfigurationError."""
    seconds = read_span(since, "hd")
    if not seconds:
        raise ConfigurationError(f"--since {since!r} is not understood; write `30d` or `12h`.")
    return seconds / UNIT_SECONDS["d"]


def read_tried(path: Path) -> str:
    """Return the text of the rules file. Raises ConfigurationError."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The rules file {path} cannot be read: {error}.") from error


def show_replay(answer: dict[str, Any]) -> None:
    """Print the counts, then the differences."""
    for counted in answer["counts"]:
        by = "" if counted["by_person"] else " by a rule"
        becomes = BECOMES[counted["becomes"]]
        show_line(f"{counted['count']} {counted['outcome']}{by}: would be {becomes}")
    if answer["not_judged"]:
        show_line(f"{answer['not_judged']} not judged: too little of them was kept")
    if not answer["counts"]:
        show_line("No past request to judge.")
    if answer["limited"]:
        show_line("Older requests of this time are not looked at: these are the latest.")
    if not answer["differences"]:
        return
    show_line("")
    show_table(
        ["ASKED", "TOOL", "INPUT", "WAS", "WOULD BE", "BECAUSE"],
        map(difference_row, answer["differences"]),
    )
    if answer["more_differences"]:
        show_line(f"and {answer['more_differences']} more differences")


def difference_row(shown: dict[str, Any]) -> list[str]:
    """Return a request that would be decided otherwise, as a row."""
    return [
        local_minute(shown["asked_at"]),
        shown["tool_name"],
        one_line(shown["text"], 60),
        f"{shown['outcome']} by {shown['decided_by']}" if shown["decided_by"] else shown["outcome"],
        BECOMES[shown["becomes"]],
        shown["why"],
    ]
