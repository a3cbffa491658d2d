"""What the terminal shows of a prompt: who asks, what would run, how long there is, which keys there are."""

from __future__ import annotations

import difflib
import json
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.syntax import Syntax
from rich.text import Text

from ccproxy.permissions.text import one_line, room_for_input
from ccproxy.permissions.waiting import Prompt
from shared.visible_text import visible

THEME = "ansi_dark"
SHORT_SECONDS = 30
DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}
CONTEXT_LINES = 3


def show_prompt(
    prompt: Prompt, *, place: int, count: int, now: float, ask: str, problem: str, width: int
) -> RenderableType:
    """`ask` takes the place of the keys while something is typed or confirmed."""
    left = time_left(prompt, now)
    title = "Claude asks you" if prompt.is_question else visible(prompt.tool)
    parts: list[RenderableType] = [Text(one_line(" · ".join(prompt.who), 300), "dim", overflow="fold"), Text()]
    parts += show_question(prompt) if prompt.is_question else shortened(show_input(prompt))
    parts.append(Text())
    if problem:
        parts.append(Text(visible(problem), "bold red"))
    parts.append(Text(ask) if ask else keys(prompt, several=count > 1, width=width - 4))
    late = prompt.expires_at is not None and prompt.expires_at - now <= SHORT_SECONDS
    return Panel(
        Group(*parts),
        title=Text(f" {title} ", "bold"),
        title_align="left",
        subtitle=Text(f" {place} of {count} · {left} ", "bold yellow" if late else ""),
        subtitle_align="right",
        border_style="yellow" if late else "cyan",
    )


def time_left(prompt: Prompt, now: float) -> str:
    if prompt.expires_at is None:
        return "no limit"
    minutes, seconds = divmod(max(0, round(prompt.expires_at - now)), 60)
    return f"{minutes}:{seconds:02d} left"


def show_input(prompt: Prompt) -> list[Text]:
    """The whole input, line by line."""
    given = dict(prompt.shown)
    lines: list[Text] = [Text("edited here:", "bold yellow")] if prompt.edited is not None else []
    if isinstance(given.get("command"), str):
        lines += highlighted(given.pop("command"), "bash")
        if description := given.pop("description", None):
            lines.append(Text(visible(str(description)), "dim italic"))
    elif "old_string" in given or isinstance(given.get("edits"), list):
        lines.append(Text(visible(str(given.pop("file_path", ""))), "bold"))
        for edit in given.pop("edits", None) or [{key: given.pop(key, "") for key in ("old_string", "new_string")}]:
            lines += diff(str(edit.get("old_string", "")), str(edit.get("new_string", "")))
    elif isinstance(given.get("content"), str):
        path = str(given.pop("file_path", ""))
        lines.append(Text(visible(path), "bold"))
        lines += highlighted(given.pop("content"), Syntax.guess_lexer(path))
    return lines + (highlighted(json.dumps(given, indent=2, ensure_ascii=False), "json") if given else [])


def highlighted(code: str, lexer: str) -> list[Text]:
    syntax = Syntax("", lexer, theme=THEME, background_color="default")
    return list(syntax.highlight(visible(code).rstrip("\n")).split("\n"))


def diff(old: str, new: str) -> list[Text]:
    compared = difflib.unified_diff(visible(old).splitlines(), visible(new).splitlines(), lineterm="", n=CONTEXT_LINES)
    return [Text(line, DIFF_STYLES.get(line[:1], "")) for line in list(compared)[2:]]


def shortened(lines: list[Text]) -> list[RenderableType]:
    room = room_for_input()
    if len(lines) <= room:
        return [*lines]
    return [*lines[: room - 1], Text(f"… {len(lines) - room + 1} more lines, v shows all", "bold yellow")]


def show_question(prompt: Prompt) -> list[RenderableType]:
    question = prompt.open_question()
    if question is None:
        return [Text("Every question is answered.")]
    shown: list[RenderableType] = [Text(visible(str(question.get("question"))), "bold"), Text()]
    for number, option in enumerate(options_of(question), 1):
        described = visible(str(option.get("description") or ""))
        shown.append(
            Text.assemble((f" {number} ", "reverse"), " ", visible(str(option.get("label"))), "  ", (described, "dim"))
        )
    return shown


def options_of(question: dict[str, Any]) -> list[dict[str, Any]]:
    return [option for option in question.get("options") or [] if isinstance(option, dict)][:9]


def covered(suggestion: dict[str, str]) -> str:
    """What `and the like` means, in a few words."""
    if exactly := suggestion.get("command"):
        return f"exactly {exactly}"
    where = suggestion.get("under")
    if prefix := suggestion.get("command_prefix"):
        return f"{prefix} …" + (f" under {where}" if where else "")
    if where:
        return f"{suggestion['tool']} under {where}"
    return suggestion.get("host") or suggestion["tool"]


def keys(prompt: Prompt, *, several: bool, width: int) -> Text:
    """No key is a default: Enter does nothing."""
    if prompt.is_question:
        offered = [("1-9", "choose"), ("m", "answer in own words"), ("n", "decline")]
    else:
        offered = [("y", "allow once")]
        if prompt.suggestion:
            like = one_line(covered(prompt.suggestion), 40)
            offered += [("s", f"allow {like} in this session"), ("a", "always")]
        offered += [("n", "deny"), ("m", "deny and say why"), ("e", "edit")]
    offered += [("j k", "next, previous")] if several else []
    offered += [("q", "quit")]
    rows, row = [], Text()
    for key, words in offered:
        cell = Text.assemble((f" {key} ", "reverse"), f" {words}   ")
        if row.cell_len and row.cell_len + cell.cell_len > width:
            rows.append(row)
            row = Text()
        row.append_text(cell)
    return Text("\n").join([*rows, row])
