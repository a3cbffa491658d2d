"""The permission requests that wait, over all sessions, and which one is looked at. Pure: events
in, notices out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ccproxy.cli.gateway import Unanswered
from ccproxy.cli.permissions.feed import FeedEvent
from shared.bus.channels import decode_payload
from shared.permissions.fair_use import taking_turns
from shared.permissions.presented import Block, Presentation, PresentedQuestion
from shared.runtime.visible_text import visible


@dataclass(slots=True)
class WaitingRequest:
    """A request on the screen. `edited` is the input changed here; `answers` maps questions, by
    text, to answers.

    `whole` and `top` place the scrolling window; `seen` is True once the end of the request has
    been on the screen.
    """

    id: str
    input: dict[str, Any]
    is_question: bool
    presentation: Presentation
    expires_at: float | None
    caller: str = ""
    edited: dict[str, Any] | None = None
    answers: dict[str, str] = field(default_factory=dict)
    chosen: list[int] = field(default_factory=list)
    whole: bool = False
    top: int = 0
    seen: bool = False

    @property
    def shown(self) -> Presentation:
        """Return the presentation; after an edit with the changed part, written by the person at
        this terminal.
        """
        if self.edited is None:
            return self.presentation
        command = self.edited.get("command")
        if isinstance(command, str):
            # Only the command went through the editor, so every other block is still true.
            others = [block for block in self.presentation.blocks if block.kind != "command"]
            blocks = [Block("Edited here", "command", visible(command)), *others]
        else:
            blocks = [
                Block(
                    "Edited here",
                    "json",
                    visible(json.dumps(self.edited, indent=2, ensure_ascii=False)),
                )
            ]
        return replace(self.presentation, warnings=[], blocks=blocks, remember=[], complete=True)

    def open_question(self) -> PresentedQuestion | None:
        """Return the next question without an answer."""
        for question in self.presentation.questions:
            if self.question_text(question) not in self.answers:
                return question
        return None

    def question_text(self, question: PresentedQuestion) -> str:
        """Return the text of a question as known to the tool."""
        return str(self.input["questions"][question.place]["question"])

    def option_label(self, question: PresentedQuestion, place: int) -> str:
        """Return the label of the option at `place` as known to the tool."""
        return str(self.input["questions"][question.place]["options"][place]["label"])


def read_waiting(data: dict[str, Any]) -> WaitingRequest:
    """Return the request in a `permission_request` event. Raises Unanswered for a request without a
    presentation.
    """
    if "presentation" not in data:
        raise Unanswered(
            "The gateway is older than this program and cannot show its requests here: update it."
        )
    expires = data.get("expires_at")
    return WaitingRequest(
        data["request_id"],
        data["input"],
        data.get("kind") == "question",
        decode_payload(Presentation, json.dumps(data["presentation"]).encode()),
        datetime.fromisoformat(expires).timestamp() if expires else None,
        str(data.get("caller") or ""),
    )


class Waiting:
    """The open requests; callers take turns. `current` is the request on the screen."""

    def __init__(self) -> None:
        self._prompts: dict[str, WaitingRequest] = {}
        self._current = ""
        self._mine: set[str] = set()

    def __len__(self) -> int:
        return len(self._prompts)

    @property
    def current(self) -> WaitingRequest | None:
        if self._current not in self._prompts:
            self._current = next(iter(self._ids()), "")
        return self._prompts.get(self._current)

    def place(self) -> int:
        """Return the place of the current request, from 1."""
        return self._ids().index(self._current) + 1 if self.current else 0

    def _ids(self) -> list[str]:
        return [
            prompt.id
            for prompt in taking_turns(self._prompts.values(), lambda prompt: prompt.caller)
        ]

    def step(self, by: int) -> None:
        """Show the next request, or the previous request."""
        if self.current:
            ids = self._ids()
            self._current = ids[(ids.index(self._current) + by) % len(ids)]

    def find(self, request_id: str) -> WaitingRequest | None:
        """Return the open request with `request_id`, or None."""
        return self._prompts.get(request_id)

    def answered(self, prompt: WaitingRequest) -> None:
        """Remove a request answered here; the event about the answer is then no news."""
        self._prompts.pop(prompt.id, None)
        self._mine.add(prompt.id)

    def put_back(self, prompt: WaitingRequest) -> None:
        """Put a request back after a failure to send the answer."""
        self._mine.discard(prompt.id)
        # First in the queue and on the screen again, with the problem: its user believes that it
        # was answered.
        self._prompts = {prompt.id: prompt, **self._prompts}
        self._current = prompt.id

    def apply(self, event: FeedEvent) -> str:
        """Apply an event. Return a sentence about the actions of other people, or an empty text.
        Raises Unanswered.
        """
        if event.name == "permission_request":
            # A stream that began again repeats pending requests. The known one stays, with what was
            # typed for it.
            self._prompts.setdefault(event.data["request_id"], read_waiting(event.data))
            return ""
        request_id = event.data.get("request_id", "")
        # An event about an answer given here is no news; `_mine` remembers it until the event has
        # come.
        prompt = self._prompts.pop(request_id, None)
        if prompt is None or request_id in self._mine:
            self._mine.discard(request_id)
            return ""
        return f"{prompt.shown.summary}: {how_it_ended(event)}"


def how_it_ended(event: FeedEvent) -> str:
    """Return the end of a request answered elsewhere, as a sentence."""
    match event.name:
        case "permission_expired":
            return "nobody answered in time; it was not allowed."
        case "permission_cancelled":
            if event.data.get("handed_back"):
                return "left to the agent's own terminal."
            return "withdrawn, whoever asked is gone."
    done = "allowed" if event.data.get("allowed") else "denied"
    if event.data.get("decided_by") == "rule":
        return f"{done} by a rule."
    edited = ", edited" if event.data.get("edited") else ""
    return f"{done} by {event.data.get('decided_by') or 'somebody'} elsewhere{edited}."
