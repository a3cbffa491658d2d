"""What the writers of all formats take beside the common form, and what they return: the model's
capabilities, a body for a provider, a frame for a client.

A `Written` body names every field that was lost on the way; a `Frame` is not encoded yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from shared.formats.ir import Json


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The fields and values that a model takes, learned from the provider's list;
    `shared/accounts/models.py` has the fallback.

    `efforts` and `thinking` hold the accepted values; `system_messages` is role `system` in
    mid-conversation.
    """

    max_output: int = 64_000
    efforts: frozenset[str] = frozenset()
    thinking: frozenset[str] = frozenset()
    sampling: bool = False
    forced_tools: bool = True
    prefill: bool = False
    system_messages: bool = True
    structured_output: bool = True


class Written(NamedTuple):
    """A prompt in a provider's format, and every field lost on the way there (the reader's and the
    writer's).
    """

    body: Json
    dropped: tuple[str, ...]


class Frame(NamedTuple):
    """A server-sent event to write. `name` is the `event:` line, if the format has one; `data` is
    JSON or bare text.

    The name ":" makes the frame a comment.
    """

    name: str | None
    data: Json | str


KEEP_ALIVE = Frame(":", "keep-alive")
"""What a format without pings of its own writes for one."""
