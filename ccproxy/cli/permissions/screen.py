"""What the terminal shows: one card, drawn in place below the notices before it.

So the card works over SSH, in 80 columns and without colour. Invariant: text from outside is drawn
with its control characters made visible.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from typing import Self

from rich.console import Console, ConsoleDimensions
from rich.live import Live
from rich.text import Text

from ccproxy.cli.permissions.rows import body_rows
from ccproxy.cli.permissions.view import FRAME, Surroundings, draw_card, question_rows
from ccproxy.cli.permissions.waiting import WaitingRequest
from shared.runtime.visible_text import visible

NOTICES_KEPT = 5  # said again after the terminal was resized, which clears it


class Screen:
    """The terminal behind `console`; drawn on inside `with screen:`. `size` is its size, `room` the
    number of rows of a request that the last card showed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(
            console=console, auto_refresh=False, transient=True, vertical_overflow="crop"
        )
        self.size = console.size = screen_size(console)
        self.room = 1
        self._notices: deque[str] = deque(maxlen=NOTICES_KEPT)
        # the rows drawn last, and for which they were made
        self._body: tuple[object, list[Text]] = (None, [])

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.update(Text())
        self._live.stop()

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Leave the terminal to another program inside the block."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def fit(self) -> None:
        """Begin on an empty screen if the terminal was resized."""
        size = screen_size(self._console)
        if size != self.size:
            self._clear(size)

    def bell(self) -> None:
        self._console.bell()

    def say(self, line: str) -> None:
        """Print a notice above the card."""
        self._notices.append(visible(line))
        self._console.print(Text(self._notices[-1]))

    def show_status(self, status: str) -> None:
        """Draw `status` in place of a card."""
        self._live.update(Text(f"{status}  (q quits)", "dim"), refresh=True)

    def show(self, prompt: WaitingRequest, around: Surroundings) -> bool:
        """Draw the card of `prompt`. Return True if the end of the request is on the screen."""
        card = draw_card(prompt, self._rows(prompt), around)
        self.room = card.room
        self._live.update(card.drawn, refresh=True)
        return card.end_shown

    def _rows(self, prompt: WaitingRequest) -> list[Text]:
        """Return the rows of a request, made once for a request and a width, not at each tick."""
        width = self.size.width - FRAME
        question = prompt.open_question() if prompt.is_question else None
        made_for = (
            prompt.id,
            width,
            id(prompt.edited),
            question and question.place,
            tuple(prompt.chosen),
        )
        if self._body[0] != made_for:
            rows = body_rows(prompt.shown, width)
            if question is not None:
                rows += [Text()] if rows else []
                rows += question_rows(question, prompt.chosen, width)
            self._body = (made_for, rows)
        return self._body[1]

    def _clear(self, size: ConsoleDimensions) -> None:
        """Begin on an empty screen: a resized terminal has wrapped the old card anew, beyond
        erasing.
        """
        self.size = self._console.size = size
        self._live.stop()
        self._console.clear()
        # The notices were cleared together with the card.
        for notice in self._notices:
            self._console.print(Text(notice))
        self._live.start()


def screen_size(console: Console) -> ConsoleDimensions:
    """Return the size of the terminal behind `console`. `COLUMNS` and `LINES` say the size it had
    at the start.
    """
    try:
        return ConsoleDimensions(*os.get_terminal_size(console.file.fileno()))
    except (OSError, ValueError):
        return console.size
