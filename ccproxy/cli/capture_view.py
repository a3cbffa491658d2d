"""Captured requests as lines and rows of a table; nothing here asks or writes."""

from __future__ import annotations

from typing import Any

from ccproxy.cli.away import local_time
from shared.runtime.times import local_minute

LIST_COLUMNS = ("ID", "WHEN", "STATUS", "MODEL", "PATH", "SESSION", "TOKEN")
BLOCK_COLUMNS = ("", "TOKENS", "SHARE", "BLOCK", "BEGINS")
BEGINNING = 60  # characters of a block in the table
MARKS = {"added": "+", "removed": "-", "changed": "~"}


def switches_in_words(state: dict[str, Any]) -> str:
    """Return what is captured, and until when, as sentences."""
    if not state["on"]:
        return "Capture is off."
    named = [
        f"{switch_in_words(switch)} until {local_time(switch['until'])}"
        for switch in state["switches"]
    ]
    lost = f" {state['lost']:,} captures were lost." if state["lost"] else ""
    return f"Capture is on: {'; '.join(named)}.{lost}"


def switch_in_words(switch: dict[str, Any]) -> str:
    if switch["kind"] == "everything":
        return "every request"
    return f"{switch['kind']} {switch['name']}"


def capture_row(summary: dict[str, Any]) -> list[str]:
    """Return a captured request as a row of LIST_COLUMNS."""
    return [
        summary["id"],
        local_minute(summary["at"]),
        str(summary["status"] or "none"),
        summary["model"] or "-",
        summary["path"],
        summary["session"] or "-",
        summary["caller"] or "-",
    ]


def capture_facts(capture: dict[str, Any]) -> list[str]:
    """Return the lines above the blocks of a captured request."""
    summary = capture["summary"]
    lines = [
        (
            f"{summary['method']} {summary['path']}: {summary['status'] or 'no answer'} in "
            f"{summary['duration_ms']:,.0f} ms, {local_minute(summary['at'])}"
        ),
        (
            f"model {summary['model'] or 'none'}, provider {summary['provider']}, session "
            f"{summary['session'] or 'none'}, token {summary['caller'] or 'none'}"
        ),
        f"About {capture['tokens']:,} tokens in {len(capture['blocks'])} blocks.",
    ]
    if summary["error"]:
        lines.append(f"Error: {summary['error']}")
    if summary["removed"]:
        counted = ", ".join(
            f"{number} × {kind.replace('_', ' ')}" for kind, number in summary["removed"].items()
        )
        lines.append(f"Removed before it was written: {counted}.")
    for name in ("request", "sent", "provider_answer", "reply"):
        lines += part_notes(name.replace("_", " "), capture[name])
    return lines


def part_notes(name: str, part: dict[str, Any] | None) -> list[str]:
    """Return what a message of the exchange lacks."""
    if part is None:
        return []
    if part["left_out"]:
        return [f"The body of the {name} is not here: {part['left_out']} ({part['size']:,} bytes)"]
    if part["is_cut"]:
        return [f"The body of the {name} was cut; it had {part['size']:,} bytes."]
    return [] if part["is_whole"] else [f"The {name} broke off."]


def captured_block_rows(capture: dict[str, Any]) -> list[list[str]]:
    """Return the blocks of a captured request as rows of BLOCK_COLUMNS."""
    return [
        [
            str(number),
            f"{block['tokens']:,}",
            f"{block['share'] * 100:.1f} %",
            block["label"],
            " ".join(block["text"].split())[:BEGINNING],
        ]
        for number, block in enumerate(capture["blocks"], 1)
    ]


def answer_text(capture: dict[str, Any]) -> str:
    """Return the reply of a captured request as text."""
    parts = [
        part["text"] if part["kind"] == "text" else f"[{part['kind']}] {part['text']}"
        for part in capture["answer"]
    ]
    return "\n".join(parts) or "(no text)"


def difference_lines(compared: dict[str, Any]) -> list[str]:
    """Return the difference of two captured requests as lines."""
    if compared["before"] is None:
        return ["There is no captured request before this one in its session."]
    before = compared["before"]
    lines = [f"Compared with {before['id']} of {local_minute(before['at'])}:"]
    for change in compared["changes"]:
        if change["change"] == "same":
            lines.append(f"  {change['blocks']} equal blocks, {change['tokens']:,} tokens")
            continue
        mark = MARKS[change["change"]]
        lines.append(f"{mark} {change['label']}, {change['tokens']:,} tokens")
        if change["change"] == "changed":
            lines += [f"    {line['mark']} {line['text']}" for line in change["lines"]]
        else:
            lines += [f"    {mark} {text}" for text in change["text"].split("\n")]
    return lines
