"""One permission request on a terminal: who asks, what would happen, how much of it is hidden,
which keys there are.

The card always fits the screen. What does not fit is cut out of the middle, with the number of
hidden rows in its place; in the whole view a window scrolls over all rows. The keys are always on
the screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from ccproxy.cli.permissions.rows import wrapped
from ccproxy.cli.permissions.waiting import WaitingRequest
from shared.permissions.input_lines import one_line
from shared.permissions.presented import PresentedQuestion, RememberChoice
from shared.runtime.visible_text import visible

SHORT_SECONDS = 30
FRAME = 4  # columns of a border and a blank on each side
SMALLEST_BODY = 3  # rows
CHOICES = 9  # options that have a key
EXAMPLE_CHARACTERS = 60
LOOKING_BACK = "Looking at past requests…"


@dataclass(frozen=True, slots=True)
class Card:
    """A request as it is drawn. `end_shown`: the last row was on the screen; `room`: rows of the
    scrolling window.
    """

    drawn: RenderableType
    end_shown: bool
    room: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The texts around the request. `ask` replaces the keys while a person types or confirms."""

    place: int
    count: int
    now: float
    ask: str
    problem: str
    width: int
    height: int


def draw_card(prompt: WaitingRequest, body: list[Text], around: Surroundings) -> Card:
    """Return the card of a request whose rows are `body`, in a terminal of the given size."""
    width = around.width - FRAME
    asker = "  ".join(f"{fact.label.lower()} {fact.text}" for fact in prompt.shown.asker)
    above = wrapped(Text(asker, "dim"), width, at_blanks=True)[:3]
    below: list[Text] = []
    if around.problem:
        below += wrapped(Text(visible(around.problem), "bold red"), width, at_blanks=True)
    if around.ask:
        below += [
            row
            for line in around.ask.split("\n")
            for row in wrapped(Text(line, "bold"), width, at_blanks=True)
        ]
    else:
        below += keys(prompt, several=around.count > 1, width=width)
    # Two rows of border, two blank rows, and one that the terminal keeps for its cursor.
    room = max(SMALLEST_BODY, around.height - len(above) - len(below) - 5)
    rows, end_shown = visible_rows(prompt, body, room)
    late = prompt.expires_at is not None and prompt.expires_at - around.now <= SHORT_SECONDS
    place = f" {around.place} of {around.count} · {time_left(prompt, around.now)} "
    panel = Panel(
        Group(*above, Text(), *rows, Text(), *below),
        title=Text(f" {shortened(prompt.shown.title, width - 4)} ", "bold"),
        title_align="left",
        subtitle=Text(place, "bold yellow" if late else ""),
        subtitle_align="right",
        border_style="yellow" if late else "cyan",
    )
    return Card(panel, end_shown, room - 1)


def shortened(text: str, width: int) -> str:
    """Return `text` with at most `width` characters, cut in the middle."""
    if len(text) <= width:
        return text
    half = max(1, (width - 1) // 2)
    return f"{text[:half]}…{text[-half:]}"


def visible_rows(prompt: WaitingRequest, body: list[Text], room: int) -> tuple[list[Text], bool]:
    """Return the rows of `body` for the available room, and True if the end of `body` is among
    them.
    """
    if len(body) <= room:
        return body, True
    if prompt.whole:
        window = room - 1
        prompt.top = max(0, min(prompt.top, len(body) - window))
        end = prompt.top + window
        where = f"rows {prompt.top + 1} to {end} of {len(body)}   space: on   b: back   v: fold"
        return [*body[prompt.top : end], Text(where, "reverse")], end >= len(body)
    head = max(1, (room - 1) * 2 // 3)
    tail = room - 1 - head
    hidden = len(body) - head - tail
    note = Text(f"… {hidden} rows hidden (v: show all)", "bold yellow")
    return [*body[:head], note, *body[len(body) - tail :]], False


def time_left(prompt: WaitingRequest, now: float) -> str:
    """Return how long the request still waits, as `4:59 left`."""
    if prompt.expires_at is None:
        return "no limit"
    minutes, seconds = divmod(max(0, round(prompt.expires_at - now)), 60)
    return f"{minutes}:{seconds:02d} left"


def question_rows(question: PresentedQuestion, chosen: list[int], width: int) -> list[Text]:
    """Return the rows of a question and the options. `chosen` holds the positions chosen so far."""
    rows = [
        row
        for line in question.text.split("\n")
        for row in wrapped(Text(line, "bold"), width, at_blanks=True)
    ]
    rows.append(Text())
    for number, option in enumerate(question.options, 1):
        key = f" {number} " if number <= CHOICES else "   "
        mark = "" if not question.multiple else "[x] " if option.place in chosen else "[ ] "
        label = " ".join(option.label.split("\n"))
        text = Text.assemble((key, "reverse"), " ", mark, label)
        if option.description:
            text.append("  ")
            text.append(" ".join(option.description.split("\n")), "dim")
        rows += wrapped(text, width, at_blanks=True)
    return rows


def confirmation(choice: RememberChoice, past: str) -> str:
    """Return the sentence for a person's confirmation before an answer is remembered. `past` tells
    of the past calls that the rule would have allowed.
    """
    return f"{choice.covers}\n{past}\ny: yes, and remember it   Esc: no, go back"


def past_in_words(preview: dict[str, Any] | None) -> str:
    """Return the past calls that a rule would have allowed, as a line and some examples; `preview`
    is None when they are not known.
    """
    if preview is None:
        return "Past requests cannot be looked at now."
    count = preview["count"]
    calls = "1 call" if count == 1 else f"{count} calls"
    days = f"In the last {preview['days']:g} days the rule would have allowed {calls} more"
    examples = [
        f"  {one_line(shown['text'], EXAMPLE_CHARACTERS)} ({shown['outcome']})"
        for shown in preview["examples"]
    ]
    return "\n".join([f"{days}:" if examples else f"{days}.", *examples])


def keys(prompt: WaitingRequest, *, several: bool, width: int) -> list[Text]:
    """Return the rows with the keys. No key is a default: Enter has no effect."""
    offered: list[tuple[str, str]] = []
    if prompt.is_question:
        question = prompt.open_question()
        if question is not None:
            offered = [("1-9", "choose"), ("m", "answer in own words")]
            offered += [("d", "done")] if question.multiple else []
        offered += [("n", "decline")]
    else:
        offered = [("n", "deny"), ("m", "deny and say why")]
        if prompt.shown.complete:
            offered += [("y", "allow once")]
            names = {"session": ("s", "allow in this session…"), "always": ("a", "always allow…")}
            offered += [names[choice.scope] for choice in prompt.shown.remember]
        offered += [("e", "edit")]
    offered += [("j k", "next, previous")] if several else []
    offered += [("q", "quit")]
    rows = []
    row = Text()
    for key, words in offered:
        cell = Text.assemble((f" {key} ", "reverse"), f" {words}   ")
        if row.cell_len and row.cell_len + cell.cell_len > width:
            rows.append(row)
            row = Text()
        row.append_text(cell)
    return [*rows, row]
