"""The target of a Messages request: the prompt to write, the model to write for, and what is left
out.
"""

from __future__ import annotations

from dataclasses import replace

from shared.formats import ir
from shared.formats.dropped import DroppedFields
from shared.formats.ir import Json
from shared.formats.messages import blocks
from shared.formats.written import Capabilities

MOST_CACHE_MARKS = 4


class Target(DroppedFields):
    """The `prompt` to write, the `model` to write it for, and the names of the `dropped` fields."""

    def __init__(self, prompt: ir.Prompt, model: Capabilities) -> None:
        super().__init__(prompt)
        self.prompt = with_a_turn(prompt)
        self.model = model
        self._marks_too_many = _count_marks(prompt) - MOST_CACHE_MARKS

    def mark(self, block: Json, lifetime: str | None) -> Json:
        """Return `block` with its cache mark; of too many marks the first go, for the last cover
        the most.
        """
        if lifetime is None:
            return block
        # The marks are counted before the writing, so that it is known here how many of the first
        # have to go.
        if self._marks_too_many > 0:
            self._marks_too_many -= 1
            self.drop("cache_control")
            return block
        return block | {"cache_control": blocks.cache_control(lifetime)}


def with_a_turn(prompt: ir.Prompt) -> ir.Prompt:
    """Return `prompt` with its instructions as a user turn if the prompt has no turn at all.

    OpenAI answers instructions alone; Anthropic requires a conversation that begins with the user.
    """
    if prompt.messages or not prompt.system:
        return prompt
    return replace(prompt, system=(), messages=(ir.Message("user", prompt.system),))


def _count_marks(prompt: ir.Prompt) -> int:
    parts = [part for message in prompt.messages for part in message.parts]
    inner = [part for result in parts if isinstance(result, ir.ToolResult) for part in result.parts]
    marks = (
        getattr(part, "cache", None)
        for part in (prompt, *prompt.tools, *prompt.system, *parts, *inner)
    )
    return sum(mark is not None for mark in marks)
