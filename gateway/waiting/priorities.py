"""The priority of a request that waits: a person's first, then ordinary ones, then background work.

A program at which a person sits says so in its user agent; Claude Code marks its background agents
itself. A client chooses another priority with a header, and a token may have one of its own. Work
of a background token stays background: such a token must not overtake its owner.
"""

from __future__ import annotations

from enum import IntEnum

from shared.runtime.errors import ClientError

PRIORITY_HEADER = b"x-ccproxy-priority"
APP_HEADER = b"x-app"
BACKGROUND_APP = b"cli-bg"  # Claude Code's background agents
AGENT_HEADER = b"x-claude-code-agent-id"  # a subagent: nobody reads along
# In the user agents of programs at which a person sits: Claude Code's terminal, and Codex's.
INTERACTIVE_AGENTS = (b"(external, cli)", b"codex-tui/", b"codex_cli_rs/")


class Priority(IntEnum):
    """The classes of waiting requests, the first to be served first."""

    PERSON = 0
    ORDINARY = 1
    BACKGROUND = 2

    @property
    def label(self) -> str:
        """Return the word for the priority in headers, token files and lists."""
        return self.name.lower()


BY_LABEL = {priority.label: priority for priority in Priority}


def headers_priority(headers: dict[bytes, bytes], of_token: str = "") -> Priority:
    """Return the priority of a request with `headers`; `of_token` is the token's priority, empty
    for none. Raises ClientError for a header with an unknown word.
    """
    if of_token == Priority.BACKGROUND.label:
        return Priority.BACKGROUND
    if word := headers.get(PRIORITY_HEADER, b"").decode("latin-1").strip().lower():
        if word not in BY_LABEL:
            raise ClientError(f"x-ccproxy-priority: {word!r} is not one of {', '.join(BY_LABEL)}.")
        return BY_LABEL[word]
    if of_token:
        return BY_LABEL[of_token]
    if headers.get(APP_HEADER) == BACKGROUND_APP:
        return Priority.BACKGROUND
    agent = headers.get(b"user-agent", b"")
    if AGENT_HEADER not in headers and any(mark in agent for mark in INTERACTIVE_AGENTS):
        return Priority.PERSON
    return Priority.ORDINARY
