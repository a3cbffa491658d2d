"""The permission requests in a terminal: one at a time, with keys that cannot be pressed by
accident.

A request is drawn in place below the notices before it, so that it works over SSH, in 80 columns
and without colour. Everything that happens (an event, a key, a second gone by) passes through one
inbox, so nothing happens beside anything else.

Invariant: a request is allowed only after its end has been on the screen for ARMED_AFTER_SECONDS.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleDimensions
from rich.live import Live
from rich.text import Text

from ccproxy.cli.gateway import Unanswered
from ccproxy.cli.permissions.automatic import Automatic
from ccproxy.cli.permissions.feed import EventFeed, FeedEvent
from ccproxy.cli.permissions.keyboard import Keyboard
from ccproxy.cli.permissions.rows import body_rows
from ccproxy.cli.permissions.view import (
    CHOICES,
    FRAME,
    Surroundings,
    confirmation,
    draw_card,
    question_rows,
)
from ccproxy.cli.permissions.waiting import Waiting, WaitingRequest
from shared.permissions.presented import PresentedQuestion, RememberChoice
from shared.runtime.visible_text import visible

ARMED_AFTER_SECONDS = 0.4  # a key meant for the prompt before must not answer this one
TICK_SECONDS = 0.5
NOTICES_KEPT = 5  # said again after the terminal was resized, which clears it
SCROLLS = {"up": -1, "down": 1, "b": None, "page up": None, " ": None, "page down": None}
NOT_SEEN = (
    "A part has not been on the screen: press v, go on with the space bar to the end, then allow "
    "it."
)
SPECIAL = frozenset({"up", "down", "page up", "page down", "escape", "enter", "backspace", "end"})

Happening = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Typing:
    """A line of text in the making, and the action for the end of the line."""

    label: str
    then: Callable[[str], None]
    text: str = ""


class Terminal:
    """`run` ends when its user quits; with `once`, when the first request is settled. `bell` rings
    for new requests.
    """

    def __init__(
        self,
        feed: EventFeed,
        console: Console,
        keyboard: Keyboard,
        automatic: Automatic | None,
        *,
        bell: bool = False,
    ) -> None:
        self._feed = feed
        self._console = console
        self._keyboard = keyboard
        self._automatic = automatic
        self._bell = bell
        self._waiting = Waiting()
        self._inbox = asyncio.Queue[Happening]()
        self._live = Live(
            console=console, auto_refresh=False, transient=True, vertical_overflow="crop"
        )
        self._size = console.size = screen_size(console)
        self._notices: deque[str] = deque(maxlen=NOTICES_KEPT)
        self._status = "Connecting…"
        self._problem = ""
        self._typing: Typing | None = None
        self._confirming: RememberChoice | None = None
        self._quit = False
        self._armed = ""
        self._armed_at = 0.0
        # the rows drawn last, and for which they were made
        self._body: tuple[object, list[Text]] = (
            None,
            [],
        )
        self._room = 1
        self._settled = 0
        self._answers: set[asyncio.Task[None]] = set()

    async def run(self, *, once: bool = False) -> None:
        """Raises Unanswered when the gateway refuses us."""
        loop = asyncio.get_running_loop()
        with self._keyboard.held(), self._live:
            loop.add_signal_handler(signal.SIGWINCH, self._inbox.put_nowait, self._nothing)
            tasks = [
                asyncio.create_task(work) for work in (self._follow(), self._listen(), self._tick())
            ]
            try:
                while not self._quit and not (once and self._settled):
                    # One happening at a time, and the screen drawn between any two: a key is always
                    # judged by what was on the screen when it was pressed.
                    self._draw()
                    happening = await self._inbox.get()
                    await happening()
            finally:
                loop.remove_signal_handler(signal.SIGWINCH)
                for task in (*tasks, *self._answers):
                    task.cancel()
                await asyncio.gather(*tasks, *self._answers, return_exceptions=True)
                self._live.update(Text())

    async def _follow(self) -> None:
        try:
            async for event in self._feed.events():
                self._inbox.put_nowait(partial(self._on_event, event))
        except Unanswered as error:
            self._inbox.put_nowait(partial(self._refused, error))

    async def _refused(self, error: Unanswered) -> None:
        # Raised from the inbox, so that it ends `run` and not only the task that follows the feed.
        raise error

    async def _listen(self) -> None:
        while True:
            self._inbox.put_nowait(partial(self._on_key, await self._keyboard.pressed()))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._inbox.put_nowait(self._nothing)

    async def _nothing(self) -> None:
        """Time has gone by; the countdown is drawn anew."""

    def _draw(self) -> None:
        size = screen_size(self._console)
        if size != self._size:
            self._clear(size)
        prompt = self._waiting.current
        # Another request is on the screen: what was typed or asked for the one before is void, and
        # the wait before an answer begins anew.
        if prompt is None or prompt.id != self._armed:
            self._typing = None
            self._confirming = None
            self._problem = ""
            self._armed, self._armed_at = (
                prompt.id if prompt else "",
                self._now() + ARMED_AFTER_SECONDS,
            )
        if prompt is None:
            self._live.update(Text(f"{self._status}  (q quits)", "dim"), refresh=True)
            return
        around = Surroundings(
            place=self._waiting.place(),
            count=len(self._waiting),
            now=self._feed.now(),
            ask=self._asked(),
            problem=self._problem or ("" if self._status.startswith("Waiting") else self._status),
            width=self._size.width,
            height=self._size.height,
        )
        card = draw_card(prompt, self._rows(prompt), around)
        self._room = card.room
        # The end has just come on the screen. A key that was on its way to scroll must not allow
        # the request.
        if card.end_shown and not prompt.seen:
            prompt.seen = True
            self._armed_at = max(self._armed_at, self._now() + ARMED_AFTER_SECONDS)
        self._live.update(card.drawn, refresh=True)

    def _rows(self, prompt: WaitingRequest) -> list[Text]:
        """Return the rows of a request, made once for a request and a width, not at each tick."""
        width = self._size.width - FRAME
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
        self._size = self._console.size = size
        self._live.stop()
        self._console.clear()
        # The notices were cleared together with the card.
        for notice in self._notices:
            self._console.print(Text(notice))
        self._live.start()

    def _asked(self) -> str:
        if self._typing is not None:
            return (
                f"{self._typing.label}: {visible(self._typing.text)}▏\nEnter sends, Esc goes back"
            )
        return confirmation(self._confirming) if self._confirming else ""

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _on_event(self, event: FeedEvent) -> None:
        match event.name:
            case "connected":
                self._status = "Waiting for prompts."
            case "lost":
                self._status = visible(f"The gateway is away ({event.data['why']}); trying again…")
            case "ping":
                return
            case _:
                before = len(self._waiting)
                if notice := self._waiting.apply(event):
                    self._say(notice)
                # A request that disappears was settled, by whomever.
                self._settled += len(self._waiting) < before
                self._answer_by_rule(event)
                if self._bell and len(self._waiting) > before:
                    self._console.bell()

    def _answer_by_rule(self, event: FeedEvent) -> None:
        if event.name != "permission_request" or self._automatic is None:
            return
        prompt = self._waiting.find(event.data["request_id"])
        if prompt is not None and (body := self._automatic.answer(event.data)):
            self._answer(prompt, body, "by the rules file")

    async def _on_key(self, key: str) -> None:
        prompt = self._waiting.current
        if key == "end":
            self._quit = True
        elif self._typing is not None:
            self._type(self._typing, key)
        elif len(key) > 1 and key not in SPECIAL:
            return  # pasted: nobody meant it as answers
        elif key == "q":
            self._quit = True
        elif prompt is not None:
            await self._choose(prompt, key)

    def _type(self, typing: Typing, key: str) -> None:
        match key:
            case "escape":
                self._typing = None
            case "enter":
                self._typing = None
                typing.then(typing.text)
            case "backspace":
                typing.text = typing.text[:-1]
            case _ if key not in SPECIAL and not key.startswith("\x1b"):
                typing.text = typed(typing.text, key)

    async def _choose(self, prompt: WaitingRequest, key: str) -> None:
        """Act on `key` for the request on the screen. Keys for looking work at once, keys for
        answering once armed.
        """
        # The order matters: a question about the future takes every key, then keys for looking,
        # which are harmless; all below answers and needs the armed state.
        if self._confirming is not None:
            self._confirm(prompt, self._confirming, key)
        elif prompt.whole and key in SCROLLS:
            page = self._room if key in {" ", "page down"} else -self._room
            prompt.top = max(0, prompt.top + (SCROLLS[key] or page))
        elif key in {"j", "down", "k", "up"}:
            self._waiting.step(1 if key in {"j", "down"} else -1)
        elif key == "v" or (prompt.whole and key == "escape"):
            prompt.whole = not prompt.whole
            prompt.top = 0
            self._problem = ""
        elif self._now() < self._armed_at:
            return
        elif key == "n":
            self._deny(prompt, "")
        elif prompt.is_question:
            self._choose_option(prompt, key)
        elif key == "m":
            self._typing = Typing("Why not (Claude reads this)", partial(self._deny, prompt))
        elif key == "e":
            await self._edit(prompt)
        else:
            self._allow(prompt, key)

    def _choose_option(self, prompt: WaitingRequest, key: str) -> None:
        question = prompt.open_question()
        if question is None:
            return
        number = int(key) if key.isascii() and key.isdecimal() else 0
        if key == "m":
            self._typing = Typing("Your answer", partial(self._answer_question, prompt, question))
        elif key == "d" and question.multiple and prompt.chosen:
            labels = [prompt.option_label(question, place) for place in sorted(prompt.chosen)]
            self._answer_question(prompt, question, ", ".join(labels))
        elif 0 < number <= min(CHOICES, len(question.options)):
            place = question.options[number - 1].place
            if question.multiple:
                # A second press takes the choice back.
                prompt.chosen = [*(set(prompt.chosen) ^ {place})]
            else:
                self._answer_question(prompt, question, prompt.option_label(question, place))

    def _allow(self, prompt: WaitingRequest, key: str) -> None:
        """Allow the request once, or begin to allow the request for the future, after the request's
        end was on the screen.
        """
        choices = {choice.scope[0]: choice for choice in prompt.shown.remember}
        if key != "y" and key not in choices:
            return
        # What cannot be shown cannot have been read, so nobody can allow it.
        if not prompt.shown.complete:
            self._problem = (
                "A part of this input cannot be shown, so it can only be denied or edited here."
            )
        elif not prompt.seen:
            self._problem = NOT_SEEN
        elif key == "y":
            self._answer(prompt, self._allowed(prompt), "once")
        else:
            self._confirming = choices[key]

    def _confirm(self, prompt: WaitingRequest, choice: RememberChoice, key: str) -> None:
        """Answer for the future on `y` or a repeated key; any other key means no and goes back."""
        if key in {"y", choice.scope[0]}:
            how = "in this session" if choice.scope == "session" else "always"
            self._answer(prompt, self._allowed(prompt) | {"remember": {"scope": choice.scope}}, how)
        elif key in {"escape", "n"}:
            self._confirming = None

    def _allowed(self, prompt: WaitingRequest) -> dict[str, Any]:
        edited = {} if prompt.edited is None else {"updated_input": prompt.edited}
        return {"allowed": True, **edited}

    def _deny(self, prompt: WaitingRequest, message: str) -> None:
        self._answer(prompt, {"allowed": False, "message": message}, message)

    def _answer_question(
        self, prompt: WaitingRequest, question: PresentedQuestion, answer: str
    ) -> None:
        """Keep an answer, and send all answers after the last question."""
        prompt.answers[prompt.question_text(question)] = answer
        prompt.chosen = []
        prompt.whole = False
        prompt.top = 0
        if prompt.open_question() is None:
            self._answer(
                prompt,
                {"allowed": True, "updated_input": prompt.input | {"answers": prompt.answers}},
                "",
            )

    def _answer(self, prompt: WaitingRequest, body: dict[str, Any], how: str) -> None:
        """Take the request out of the queue now and send the answer; the request comes back if the
        answer does not arrive.
        """
        # Out of the queue at once: a second key must not answer the same request, and must meet the
        # wait of the next one.
        self._waiting.answered(prompt)
        task = asyncio.create_task(self._send(prompt, body, how))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _send(self, prompt: WaitingRequest, body: dict[str, Any], how: str) -> None:
        said = "allowed" if body["allowed"] else "denied"
        try:
            told = await self._feed.answer(prompt.id, body)
        except Unanswered as error:
            self._waiting.put_back(prompt)
            self._problem = error.message
            # Marked as drawn, so that the next drawing keeps the problem on the screen.
            self._armed = prompt.id
        else:
            self._say(f"{prompt.shown.summary}: " + (told.words or f"{said} {how}".strip()))
            self._settled += 1
        self._inbox.put_nowait(self._nothing)

    async def _edit(self, prompt: WaitingRequest) -> None:
        """Let the user change the input in an editor. The result is shown, and still has to be
        allowed.
        """
        given = prompt.input if prompt.edited is None else prompt.edited
        command = given.get("command")
        text = (
            command if isinstance(command, str) else json.dumps(given, indent=2, ensure_ascii=False)
        )
        self._live.stop()
        # The editor needs the terminal whole: no drawing, and no reading of its keys.
        with self._keyboard.lent():
            changed = await edit_text(text, ".sh" if isinstance(command, str) else ".json")
        self._live.start()
        try:
            edited = (
                given | {"command": changed} if isinstance(command, str) else json.loads(changed)
            )
            if not isinstance(edited, dict):
                raise ValueError("an object is needed")
        except ValueError as error:
            self._problem = f"Not used: {error}"
            return
        prompt.edited = edited if edited != prompt.input else None
        # The result is another input, so it has to be seen again before it can be allowed.
        prompt.seen = prompt.whole = False
        self._armed_at = self._now() + ARMED_AFTER_SECONDS

    def _say(self, line: str) -> None:
        self._notices.append(visible(line))
        self._console.print(Text(self._notices[-1]))


def screen_size(console: Console) -> ConsoleDimensions:
    """Return the size of the terminal behind `console`. `COLUMNS` and `LINES` say the size it had
    at the start.
    """
    try:
        return ConsoleDimensions(*os.get_terminal_size(console.file.fileno()))
    except (OSError, ValueError):
        return console.size


def typed(text: str, keys: str) -> str:
    """Return the text after keys received together. A line end among the keys was pasted and sends
    no answer.
    """
    for key in keys:
        if key in "\x7f\b":
            text = text[:-1]
        else:
            text += key if key.isprintable() else " "
    return text


async def edit_text(text: str, suffix: str) -> str:
    """Return the text after the editor has ended; unchanged if the editor fails."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="ccproxy-edit-") as folder:
        path = Path(folder) / f"input{suffix}"
        path.write_text(text + "\n")
        try:
            process = await asyncio.create_subprocess_exec(*editor, str(path))
        except OSError:
            return text
        return path.read_text().rstrip("\n") if await process.wait() == 0 else text
