"""A Messages request with a checked shape, as the rules read it: its blocks with their paths, and
its messages merged into turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from simulator.anthropic.models import AnthropicModel

Block = dict[str, Any]


@dataclass(slots=True)
class RoleTurn:
    """Consecutive messages of a role, merged by the service. `number` is the place of the first
    message in `messages`.
    """

    role: str
    number: int
    blocks: list[Block]


@dataclass(frozen=True, slots=True)
class AnthropicRequest:
    """A body with a checked shape. `turns` leaves out messages of the role `system`."""

    body: dict[str, Any]
    model: AnthropicModel
    version: str
    betas: frozenset[str]
    turns: list[RoleTurn] = field(default_factory=list)

    @property
    def thinking(self) -> str:
        kind: str = self.body.get("thinking", {}).get("type", "")
        return kind


def blocks_of(content: str | list[Block] | None) -> list[Block]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def merge_turns(messages: list[dict[str, Any]]) -> list[RoleTurn]:
    turns: list[RoleTurn] = []
    for number, message in enumerate(messages):
        blocks = blocks_of(message.get("content"))
        if message["role"] == "system":
            continue
        if turns and turns[-1].role == message["role"]:
            turns[-1].blocks.extend(blocks)
        else:
            # The list is copied: merging must not add to the list in the client's own message.
            turns.append(RoleTurn(message["role"], number, list(blocks)))
    return turns


def each_block(request: AnthropicRequest) -> Iterator[tuple[str, dict[str, Any], Block]]:
    """(path, message, block) for every block of every message."""
    for number, message in enumerate(request.body["messages"]):
        for place, block in enumerate(blocks_of(message.get("content"))):
            yield f"messages.{number}.content.{place}", message, block
