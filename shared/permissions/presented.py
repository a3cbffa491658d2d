"""A permission request as a person sees it: the shape that travels to the terminal, the phone page
and the dashboard.

The permission service makes a `Presentation` once, when the request opens; the views only draw it.
Every text in here has been through `visible_text.visible`, so a view may put it on the screen as it
is. Answers never use these texts: a view answers a question by the positions of its options in the
input of the request.

Invariant: a presentation that is `complete` leaves out nothing of the input. A view offers Allow
only for a complete presentation, and only after its end has been on the screen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

BlockKind = Literal["line", "command", "text", "json", "diff", "remark"]


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A fact on a line, as `Caller: alice`."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class DiffRow:
    """A line of a diff. `mark` is a blank, `+`, `-`, or `@` for a heading between two places.

    `old` and `new` are line numbers from 1; None when the line has none, or when the file was not
    read.
    """

    mark: Literal[" ", "+", "-", "@"]
    text: str
    old: int | None = None
    new: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A labelled part of the input. A diff has `rows`, every other kind has `text`.

    `line` is a short text that is drawn beside its label, as a path. `remark` is what the model
    says about its own call. `note` is our own sentence about the block. `hidden` counts the
    characters cut out of the middle.
    """

    label: str
    kind: BlockKind
    text: str = ""
    rows: list[DiffRow] = field(default_factory=list)
    note: str = ""
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class PresentedOption:
    """An option of a question. `place` is the option's position in the input, from 0."""

    place: int
    label: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class PresentedQuestion:
    """One question of the model. `place` is the question's position in the input, from 0;
    `multiple` allows several answers.
    """

    place: int
    text: str
    options: list[PresentedOption] = field(default_factory=list)
    multiple: bool = False


@dataclass(frozen=True, slots=True)
class RememberChoice:
    """One way to remember an answer. `label` is the text of a button; `covers` is the
    exact scope.
    """

    scope: Literal["session", "always"]
    label: str
    covers: str


@dataclass(frozen=True, slots=True)
class Presentation:
    """A permission request, ready to be drawn.

    `title` says on one line what would happen, `summary` is the same for a list of past requests.
    `asker` says who asks. `warnings` name what deceives the eye or deserves care.
    """

    title: str
    summary: str
    asker: list[LabelledText] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    questions: list[PresentedQuestion] = field(default_factory=list)
    remember: list[RememberChoice] = field(default_factory=list)
    complete: bool = True
