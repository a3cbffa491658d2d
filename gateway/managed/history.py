"""What a session has said so far, as messages: for a worker that has no transcript of it.

A worker continues its own transcript, and looks at the messages only when that is gone: after a
first turn that broke off, or on another machine.
"""

from __future__ import annotations

from gateway.managed.journal import SessionJournals, SessionName
from shared.formats.ir import Json
from shared.runtime.exact_json import dump_json

MOST_BYTES = 1024 * 1024  # of the newest messages; earlier ones are left out


async def messages_of(journals: SessionJournals, name: SessionName) -> list[Json]:
    """Return the newest messages of a session, the oldest first, beginning with the user's. Raises
    BusUnavailable.
    """
    found: list[Json] = []
    size = 0
    before = ""
    while entries := await journals.read(name, after=before, oldest_first=False):
        before = entries[-1].place
        for entry in entries:
            message = spoken_message(entry.event)
            if message is None:
                continue
            size += len(dump_json(message))
            if size > MOST_BYTES:
                return from_the_user(found[::-1])
            found.append(message)
    return from_the_user(found[::-1])


def spoken_message(event: Json) -> Json | None:
    """Return the message of the user or the agent in an event; None for any other event."""
    if event["type"] == "user.message":
        return user_message(event)
    if event["type"] == "agent.message":
        return {"role": "assistant", "content": event["content"]}
    return None


def user_message(event: Json) -> Json:
    return {"role": "user", "content": event["content"]}


def from_the_user(messages: list[Json]) -> list[Json]:
    """Return `messages` without an answer to a left-out question."""
    while messages and messages[0]["role"] != "user":
        messages = messages[1:]
    return messages
