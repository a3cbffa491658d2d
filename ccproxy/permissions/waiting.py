"""The prompts that wait, over all sessions, and which of them is looked at. Pure: events in, notices out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ccproxy.permissions.feed import Event
from ccproxy.permissions.text import one_line
from shared.permissions.fair_use import taking_turns


@dataclass(slots=True)
class Prompt:
    """One request as a person sees it. `edited` is the input as it was changed here; `answers` those to a question, by
    its text."""

    id: str
    tool: str
    input: dict[str, Any]
    is_question: bool
    who: list[str]
    expires_at: float | None
    suggestion: dict[str, str] | None
    edited: dict[str, Any] | None = None
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> dict[str, Any]:
        return self.input if self.edited is None else self.edited

    def summary(self) -> str:
        given = self.shown
        what = given.get("command") or given.get("file_path") or given.get("url") or ""
        return one_line(f"{self.tool} {what}".strip(), 60)

    def open_question(self) -> dict[str, Any] | None:
        """The next question without an answer."""
        for question in self.input.get("questions") or []:
            if isinstance(question, dict) and not self.answers.get(str(question.get("question"))):
                return question
        return None


def read_prompt(data: dict[str, Any]) -> Prompt:
    expires = data.get("expires_at")
    who = [data.get("caller") or "local", data.get("session_id"), data.get("working_directory")]
    return Prompt(
        data["request_id"],
        data["tool_name"],
        data["input"],
        data.get("kind") == "question",
        [str(part) for part in who if part],
        datetime.fromisoformat(expires).timestamp() if expires else None,
        data.get("suggestion"),
    )


class Waiting:
    """The open prompts; callers take turns. `current` is the prompt on the screen, until it is settled or left."""

    def __init__(self) -> None:
        self._prompts: dict[str, Prompt] = {}
        self._current = ""
        self._mine: set[str] = set()

    def __len__(self) -> int:
        return len(self._prompts)

    @property
    def current(self) -> Prompt | None:
        if self._current not in self._prompts:
            self._current = next(iter(self._ids()), "")
        return self._prompts.get(self._current)

    def place(self) -> int:
        """Of the current one, from 1."""
        return self._ids().index(self._current) + 1 if self.current else 0

    def _ids(self) -> list[str]:
        return [prompt.id for prompt in taking_turns(self._prompts.values(), lambda prompt: prompt.who[0])]

    def step(self, by: int) -> None:
        """Look at the next one, or the one before."""
        if self.current:
            ids = self._ids()
            self._current = ids[(ids.index(self._current) + by) % len(ids)]

    def find(self, request_id: str) -> Prompt | None:
        return self._prompts.get(request_id)

    def answered(self, prompt: Prompt) -> None:
        """We answered it: it makes room for the next, and the event that follows is no news."""
        self._prompts.pop(prompt.id, None)
        self._mine.add(prompt.id)

    def put_back(self, prompt: Prompt) -> None:
        """The answer did not arrive."""
        self._mine.discard(prompt.id)
        self._prompts = {prompt.id: prompt, **self._prompts}
        self._current = prompt.id

    def apply(self, event: Event) -> str:
        """A sentence about what others did, or nothing."""
        if event.name == "permission_request":
            self._prompts.setdefault(event.data["request_id"], read_prompt(event.data))
            return ""
        request_id = event.data.get("request_id", "")
        prompt = self._prompts.pop(request_id, None)
        if prompt is None or request_id in self._mine:
            self._mine.discard(request_id)
            return ""
        return f"{prompt.summary()}: {how_it_ended(event)}"


def how_it_ended(event: Event) -> str:
    match event.name:
        case "permission_expired":
            return "nobody answered in time; it was not allowed."
        case "permission_cancelled":
            return "withdrawn, whoever asked is gone."
    done = "allowed" if event.data.get("allowed") else "denied"
    if event.data.get("decided_by") == "rule":
        return f"{done} by a rule."
    edited = ", edited" if event.data.get("edited") else ""
    return f"{done} by {event.data.get('decided_by') or 'somebody'} elsewhere{edited}."
