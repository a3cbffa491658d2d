"""The queue of prompts in a terminal: one at a time, keys that cannot be pressed by accident, others' answers told.

Drawn in place below what was said before, so that it works over SSH, in 80 columns and without colour. Everything that
happens (an event, a key, a second gone by) passes through one inbox, so nothing happens beside anything else.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from ccproxy.gateway import Unanswered
from ccproxy.permissions.automatic import Automatic
from ccproxy.permissions.feed import Event, Feed
from ccproxy.permissions.keyboard import Keyboard
from ccproxy.permissions.view import covered, options_of, show_input, show_prompt
from ccproxy.permissions.waiting import Prompt, Waiting
from shared.visible_text import visible

ARMED_AFTER_SECONDS = 0.4  # a key meant for the prompt before must not answer this one
TICK_SECONDS = 0.5
SPECIAL = frozenset({"up", "down", "escape", "enter", "backspace", "end"})

Happening = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Typing:
    """A line being typed, and what happens with it."""

    label: str
    then: Callable[[str], None]
    text: str = ""


class Terminal:
    """`run` ends when its user quits; with `once`, when the first prompt is settled."""

    def __init__(self, feed: Feed, console: Console, keyboard: Keyboard, automatic: Automatic | None) -> None:
        self._feed, self._console, self._keyboard, self._automatic = feed, console, keyboard, automatic
        self._waiting, self._inbox = Waiting(), asyncio.Queue[Happening]()
        self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._status, self._problem = "Connecting…", ""
        self._typing: Typing | None = None
        self._confirming = self._quit = False
        self._armed, self._armed_at = "", 0.0
        self._settled = 0
        self._answers: set[asyncio.Task[None]] = set()

    async def run(self, *, once: bool = False) -> None:
        """Raises Unanswered when the gateway refuses us."""
        with self._keyboard.held(), self._live:
            tasks = [asyncio.create_task(work) for work in (self._follow(), self._listen(), self._tick())]
            try:
                while not self._quit and not (once and self._settled):
                    self._draw()
                    happening = await self._inbox.get()
                    await happening()
            finally:
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
        prompt = self._waiting.current
        if prompt is None or prompt.id != self._armed:
            self._typing, self._confirming, self._problem = None, False, ""
            self._armed, self._armed_at = prompt.id if prompt else "", self._now() + ARMED_AFTER_SECONDS
        shown: RenderableType = Text(f"{self._status}  (q quits)", "dim")
        if prompt is not None:
            problem = self._problem or ("" if self._status.startswith("Waiting") else self._status)
            shown = show_prompt(
                prompt,
                place=self._waiting.place(),
                count=len(self._waiting),
                now=self._feed.now(),
                ask=self._asked(prompt),
                problem=problem,
                width=self._console.width,
            )
        self._live.update(shown, refresh=True)

    def _asked(self, prompt: Prompt) -> str:
        if self._typing is not None:
            return f"{self._typing.label}: {visible(self._typing.text)}▏\nEnter sends, Esc goes back"
        if self._confirming and prompt.suggestion:
            return f"From now on, in every session, allow {visible(covered(prompt.suggestion))}\na: yes   Esc: no"
        return ""

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _on_event(self, event: Event) -> None:
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
                self._settled += len(self._waiting) < before
                self._answer_by_rule(event)

    def _answer_by_rule(self, event: Event) -> None:
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

    async def _choose(self, prompt: Prompt, key: str) -> None:
        if key in {"j", "down", "k", "up"}:
            self._waiting.step(1 if key in {"j", "down"} else -1)
        elif key == "v":
            for line in show_input(prompt):
                self._say(line)
        elif self._now() < self._armed_at:
            return
        elif key == "m":
            then = partial(self._answer_question, prompt) if prompt.is_question else partial(self._deny, prompt)
            self._typing = Typing("Your answer" if prompt.is_question else "Why not (Claude reads this)", then)
        elif key == "n":
            self._deny(prompt, "")
        elif prompt.is_question:
            question = prompt.open_question()
            options = options_of(question) if question else []
            if key.isdecimal() and 0 < int(key) <= len(options):
                self._answer_question(prompt, str(options[int(key) - 1].get("label")))
        else:
            await self._allow(prompt, key)

    async def _allow(self, prompt: Prompt, key: str) -> None:
        body: dict[str, Any] = {"allowed": True}
        if prompt.edited is not None:
            body["updated_input"] = prompt.edited
        if key == "y":
            self._answer(prompt, body, "once")
        elif key == "e":
            await self._edit(prompt)
        elif key == "s" and prompt.suggestion:
            self._answer(prompt, body | {"remember": {"scope": "session"}}, "in this session")
        elif key == "a" and prompt.suggestion:
            if self._confirming:
                self._answer(prompt, body | {"remember": {"scope": "always"}}, "always")
            self._confirming = not self._confirming
        elif key == "escape":
            self._confirming = False

    def _deny(self, prompt: Prompt, message: str) -> None:
        self._answer(prompt, {"allowed": False, "message": message}, message)

    def _answer_question(self, prompt: Prompt, answer: str) -> None:
        """Answers are kept until every question has one."""
        if question := prompt.open_question():
            prompt.answers[str(question.get("question"))] = answer
        if prompt.open_question() is None:
            self._answer(prompt, {"allowed": True, "updated_input": prompt.input | {"answers": prompt.answers}}, "")

    def _answer(self, prompt: Prompt, body: dict[str, Any], how: str) -> None:
        """It leaves the queue now, and comes back should the answer not arrive."""
        self._waiting.answered(prompt)
        task = asyncio.create_task(self._send(prompt, body, how))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _send(self, prompt: Prompt, body: dict[str, Any], how: str) -> None:
        said = "allowed" if body["allowed"] else "denied"
        try:
            told = await self._feed.answer(prompt.id, body)
        except Unanswered as error:
            self._waiting.put_back(prompt)
            self._problem, self._armed = error.message, prompt.id
        else:
            self._say(f"{prompt.summary()}: " + (told.words or f"{said} {how}".strip()))
            self._settled += 1
        self._inbox.put_nowait(self._nothing)

    async def _edit(self, prompt: Prompt) -> None:
        """In the user's own editor; what comes back is shown, and still has to be allowed."""
        command = prompt.shown.get("command")
        text = command if isinstance(command, str) else json.dumps(prompt.shown, indent=2, ensure_ascii=False)
        self._live.stop()
        with self._keyboard.lent():
            changed = await edit_text(text, ".sh" if isinstance(command, str) else ".json")
        self._live.start()
        try:
            edited = prompt.shown | {"command": changed} if isinstance(command, str) else json.loads(changed)
            if not isinstance(edited, dict):
                raise ValueError("an object is needed")
        except ValueError as error:
            self._problem = f"Not used: {error}"
            return
        prompt.edited = edited if edited != prompt.input else None
        self._armed_at = self._now() + ARMED_AFTER_SECONDS

    def _say(self, line: str | Text) -> None:
        self._console.print(Text(visible(line)) if isinstance(line, str) else line)


def typed(text: str, keys: str) -> str:
    """The text after keys that came together. A line end among them was pasted, and sends nothing."""
    for key in keys:
        if key in "\x7f\b":
            text = text[:-1]
        else:
            text += key if key.isprintable() else " "
    return text


async def edit_text(text: str, suffix: str) -> str:
    """The text as it is when the editor ends; unchanged if it fails."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="ccproxy-edit-") as folder:
        path = Path(folder) / f"input{suffix}"
        path.write_text(text + "\n")
        try:
            process = await asyncio.create_subprocess_exec(*editor, str(path))
        except OSError:
            return text
        return path.read_text().rstrip("\n") if await process.wait() == 0 else text
