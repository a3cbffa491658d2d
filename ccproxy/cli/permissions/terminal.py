"""The permission requests in a terminal: one at a time, with keys that cannot be pressed by
accident.

Everything that happens (an event, a key, a second gone by) passes through one inbox, so nothing
happens beside anything else; `screen` draws the request between any two.

Invariant: a request is allowed only after its end has been on the screen for ARMED_AFTER_SECONDS.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from rich.console import Console

from ccproxy.cli.gateway import Unanswered
from ccproxy.cli.permissions.automatic import Automatic
from ccproxy.cli.permissions.editor import SPECIAL, Typing, edit_input, typed
from ccproxy.cli.permissions.feed import EventFeed, FeedEvent
from ccproxy.cli.permissions.keyboard import Keyboard
from ccproxy.cli.permissions.news import WAITING, sentence_of
from ccproxy.cli.permissions.screen import Screen
from ccproxy.cli.permissions.switches import OwnerSwitches
from ccproxy.cli.permissions.view import (
    CHOICES,
    LOOKING_BACK,
    Surroundings,
    confirmation,
    past_in_words,
)
from ccproxy.cli.permissions.waiting import Waiting, WaitingRequest
from shared.permissions.presented import PresentedQuestion, RememberChoice
from shared.runtime.visible_text import visible

ARMED_AFTER_SECONDS = 0.4  # a key meant for the prompt before must not answer this one
TICK_SECONDS = 0.5
SCROLLS = {"up": -1, "down": 1, "b": None, "page up": None, " ": None, "page down": None}
NOT_SEEN = (
    "A part has not been on the screen: press v, go on with the space bar to the end, then allow "
    "it."
)

Happening = Callable[[], Awaitable[None]]


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
        self._screen = Screen(console)
        self._keyboard = keyboard
        self._automatic = automatic
        self._bell = bell
        self._waiting = Waiting()
        self._inbox = asyncio.Queue[Happening]()
        self._status = "Connecting…"
        self._problem = ""
        self._switches = OwnerSwitches(feed, self._screen.say, self._switched)
        self._typing: Typing | None = None
        self._confirming: RememberChoice | None = None
        self._past = ""
        self._quit = False
        self._armed = ""
        self._armed_at = 0.0
        self._settled = 0
        self._answers: set[asyncio.Task[None]] = set()

    async def run(self, *, once: bool = False) -> None:
        """Raises Unanswered when the gateway refuses us."""
        loop = asyncio.get_running_loop()
        with self._keyboard.held(), self._screen:
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
        self._screen.fit()
        prompt = self._waiting.current
        # Another request is on the screen: what was typed or asked for the one before is void, and
        # the wait before an answer begins anew.
        if prompt is None or prompt.id != self._armed:
            self._typing = None
            self._confirming = None
            self._problem = ""
            self._armed = prompt.id if prompt else ""
            self._armed_at = self._now() + ARMED_AFTER_SECONDS
        if prompt is None:
            self._screen.show_status(self._switches.asked or self._status)
            return
        around = Surroundings(
            place=self._waiting.place(),
            count=len(self._waiting),
            now=self._feed.now(),
            ask=self._asked(),
            problem=self._problem or ("" if self._status.startswith("Waiting") else self._status),
            width=self._screen.size.width,
            height=self._screen.size.height,
        )
        end_shown = self._screen.show(prompt, around)
        # The end has just come on the screen. A key that was on its way to scroll must not allow
        # the request.
        if end_shown and not prompt.seen:
            prompt.seen = True
            self._armed_at = max(self._armed_at, self._now() + ARMED_AFTER_SECONDS)

    def _asked(self) -> str:
        if self._switches.asked:
            return self._switches.asked
        if self._typing is not None:
            return (
                f"{self._typing.label}: {visible(self._typing.text)}▏\nEnter sends, Esc goes back"
            )
        return confirmation(self._confirming, self._past) if self._confirming else ""

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _on_event(self, event: FeedEvent) -> None:
        match event.name:
            case "connected":
                self._status = self._switches.status
                self._start(self._switches.learn())
            case "lost":
                self._status = visible(f"The gateway is away ({event.data['why']}); trying again…")
            case "ping":
                return
            case "notice" | "alert":
                self._screen.say(sentence_of(event))
            case "presence" | "profiles":
                self._start(self._switches.take(event))
            case _:
                before = len(self._waiting)
                if notice := self._waiting.apply(event):
                    self._screen.say(notice)
                # A request that disappears was settled, by whomever.
                self._settled += len(self._waiting) < before
                self._answer_by_rule(event)
                if self._bell and len(self._waiting) > before:
                    self._screen.bell()

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
        elif (switching := self._switches.press(key)) is not None:
            self._start(switching)
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
            page = self._screen.room if key in {" ", "page down"} else -self._screen.room
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
            self._past = LOOKING_BACK
            self._start(self._look_back(prompt, choices[key]))

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
        self._start(self._send(prompt, body, how))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` beside the inbox; the end of `run` cancels it."""
        task = asyncio.create_task(work)
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    def _switched(self) -> None:
        """Draw what the owner's switches say now."""
        if self._status.startswith(WAITING):
            self._status = self._switches.status
        self._inbox.put_nowait(self._nothing)

    async def _look_back(self, prompt: WaitingRequest, choice: RememberChoice) -> None:
        """Show the past calls that the new rule would have allowed, if the person still decides on
        that rule.
        """
        preview = await self._feed.preview(prompt.id, choice.scope)
        if self._confirming is choice:
            self._past = past_in_words(preview)
            self._inbox.put_nowait(self._nothing)

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
            self._screen.say(f"{prompt.shown.summary}: " + (told.words or f"{said} {how}".strip()))
            self._settled += 1
        self._inbox.put_nowait(self._nothing)

    async def _edit(self, prompt: WaitingRequest) -> None:
        """Let the user change the input in an editor. The result is shown, and still has to be
        allowed.
        """
        given = prompt.input if prompt.edited is None else prompt.edited
        try:
            # The editor needs the terminal whole: no drawing, and no reading of its keys.
            with self._screen.lent(), self._keyboard.lent():
                edited = await edit_input(given)
        except ValueError as error:
            self._problem = f"Not used: {error}"
            return
        prompt.edited = edited if edited != prompt.input else None
        # The result is another input, so it has to be seen again before it can be allowed.
        prompt.seen = prompt.whole = False
        self._armed_at = self._now() + ARMED_AFTER_SECONDS
