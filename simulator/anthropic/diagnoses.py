"""Cache diagnostics: why a prompt could not reuse the prefix of the request before it.

A request that carries `diagnostics` is remembered by the id of its reply. The next request names
that id, and the reply tells the first part that differs. Requests without the object are not
remembered, and are told nothing.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from simulator.anthropic.usage import AnthropicPromptCache
from simulator.script import compact

MOST_REMEMBERED = 10_000
PARTS = ("model", "system", "tools")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A diagnosis of a cache miss. `shown` is the value of `diagnostics` in the reply: None without
    a difference or a comparison.
    """

    shown: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digests of a request's parts, and of the request's messages; no content."""

    parts: tuple[bytes, ...]
    messages: tuple[bytes, ...]


class Diagnoses:
    """The fingerprints of past requests of every credential."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Fingerprint] = OrderedDict()

    def compare(self, body: dict[str, Any], owner: str, message_id: str) -> Diagnosis | None:
        """Remember the request under the id of the reply. Return the diagnosis; None for a request
        without the wish for a diagnosis.
        """
        asked = body.get("diagnostics")
        if not isinstance(asked, dict):
            return None
        mine = fingerprint(body)
        # By owner as well: the id of another caller's reply must tell nothing about that caller's
        # prompt.
        self._known[owner, message_id] = mine
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        previous = asked.get("previous_message_id")
        if previous is None:
            return Diagnosis(None)
        before = self._known.get((owner, previous))
        if before is None:
            return Diagnosis({"cache_miss_reason": {"type": "previous_message_not_found"}})
        reason = difference(before, mine)
        if not reason:
            return Diagnosis(None)
        # In an empty cache every token counts as missed.
        missed = AnthropicPromptCache().measure(body, "").total
        return Diagnosis(
            {"cache_miss_reason": {"type": reason, "cache_missed_input_tokens": missed}}
        )


def fingerprint(body: dict[str, Any]) -> Fingerprint:
    parts = tuple(part_digest(body.get(name)) for name in PARTS)
    return Fingerprint(parts, tuple(part_digest(message) for message in body["messages"]))


def part_digest(value: Any) -> bytes:
    return hashlib.sha256(compact(without_marks(value)).encode()).digest()


def without_marks(value: Any) -> Any:
    """Return the value without `cache_control` marks, which move from turn to turn."""
    if isinstance(value, dict):
        return {
            name: without_marks(part) for name, part in value.items() if name != "cache_control"
        }
    return [without_marks(part) for part in value] if isinstance(value, list) else value


def difference(before: Fingerprint, now: Fingerprint) -> str:
    """Return the vendor's word for the first part that differs; an empty text when the old prompt
    is a prefix.
    """
    for name, old, new in zip(PARTS, before.parts, now.parts, strict=True):
        if old != new:
            return f"{name}_changed"
    return "" if now.messages[: len(before.messages)] == before.messages else "messages_changed"
