"""What a session has said so far, as messages: for a worker that has no transcript of it.

A worker continues its own transcript, and looks at the messages only when that is gone: after a
first turn that broke off, or on another machine. It always takes the last message as its task.

Invariant: between two messages of the user stands a word of the agent. Neighbours of one role are
one message to a provider, so the task of a turn that broke off would else be a part of the next
task, and be done twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.managed.journal import SessionJournals, SessionName
from shared.formats.ir import Json
from shared.runtime.exact_json import dump_json

MOST_BYTES = 1024 * 1024  # of the newest messages; earlier ones are left out
MOST_CALLS = 20  # tool calls named in the note on a turn that broke off, the last ones
MOST_INPUT_CHARS = 300  # of the input of such a call
CALLS = ("agent.tool_use", "agent.custom_tool_use")


async def messages_of(journals: SessionJournals, name: SessionName) -> list[Json]:
    """Return the newest messages of a session, the oldest first, beginning with the user's. Raises
    BusUnavailable.
    """
    spoken = SpokenBackwards()
    size = 0
    before = ""
    while entries := await journals.read(name, after=before, oldest_first=False):
        before = entries[-1].place
        for entry in entries:
            message = spoken.feed(entry.event)
            if message is None:
                continue
            size += len(dump_json(message))
            if size > MOST_BYTES:
                return from_the_user(spoken.messages[:-1][::-1])
    return from_the_user(spoken.messages[::-1])


@dataclass(slots=True)
class EndedTurn:
    """A turn that is read from its end to its beginning. `place` is the number of messages that
    are newer than the turn.
    """

    place: int
    reason: str
    error: str = ""
    is_interrupted: bool = False
    has_text: bool = False
    calls: list[str] = field(default_factory=list)

    def note(self) -> str:
        """Return the agent's last word of a turn without a whole answer; an empty text for a turn
        with one.
        """
        if self.is_interrupted:
            said = "The user interrupted this turn."
        elif self.reason != "end_turn":
            said = f"This turn broke off. {self.error}".strip()
        elif self.has_text:
            return ""
        else:
            said = "This turn ended without a text."
        if self.calls and (self.is_interrupted or self.reason != "end_turn"):
            begun = "; ".join(self.calls[:MOST_CALLS][::-1])
            said += f" Tool calls it had begun, which may have had their effect: {begun}"
        return f"[{said}]"


class SpokenBackwards:
    """The messages of a log that is read from its end. `messages` are the newest first."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self._turn: EndedTurn | None = None

    def feed(self, event: Json) -> Json | None:
        """Note an event. Return the message of the user or the agent in the event; None for any
        other event.
        """
        turn = self._turn
        match event["type"]:
            case "user.message":
                if turn is not None and (note := turn.note()):
                    self.messages.insert(turn.place, agent_message(note))
                self._turn = None
                self.messages.append(user_message(event))
                return self.messages[-1]
            case "agent.message":
                if turn is not None:
                    turn.has_text = True
                self.messages.append({"role": "assistant", "content": event["content"]})
                return self.messages[-1]
            case "session.status_idle" if turn is None:
                reason = event["stop_reason"]["type"]
                # A session that waits for an answer is idle in the middle of its turn.
                if reason != "requires_action":
                    self._turn = EndedTurn(len(self.messages), reason)
            case "session.error" if turn is not None and not turn.error:
                turn.error = event["error"]["message"]
            case "user.interrupt" if turn is not None:
                turn.is_interrupted = True
            case kind if kind in CALLS and turn is not None:
                given = dump_json(event["input"]).decode("utf-8", "replace")
                turn.calls.append(f"{event['name']} {given[:MOST_INPUT_CHARS]}")
        return None


def user_message(event: Json) -> Json:
    return {"role": "user", "content": event["content"]}


def agent_message(text: str) -> Json:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def from_the_user(messages: list[Json]) -> list[Json]:
    """Return `messages` without an answer to a left-out question."""
    while messages and messages[0]["role"] != "user":
        messages = messages[1:]
    return messages
