"""Tokens, counted without a tokenizer: one for every four bytes of compact JSON or text, rounded
up, piece by piece.

A prompt is a sequence of pieces: each tool, each system block, each message block. A piece with
`cache_control` marks the end of a prefix, which is kept under the credential and the model for its
lifetime. A request reads the longest kept prefix that ends at one of its marks or at one of the 19
pieces before a mark. Prefixes under 1,024 tokens are not cached. The choice of a tool and thinking
belong to the messages: a change of theirs keeps only tools and system. As in the service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from simulator.anthropic.request import Block, blocks_of
from simulator.clock import SimulatedClock
from simulator.prefixes import KeptPrefixes
from simulator.script import compact, text_tokens

LEAST_CACHED_TOKENS = 1024
MOST_PREFIXES = 10_000
LOOKED_AT = 20  # pieces that are looked at for each mark, the marked one included
LIFETIMES = {"5m": 300.0, "1h": 3600.0}  # seconds
OF_MESSAGES = ("tool_choice", "thinking")


@dataclass(frozen=True, slots=True)
class InputUsage:
    """The input tokens of a request. `fresh` excludes tokens read from or written to the cache, as
    `input_tokens` does.
    """

    fresh: int
    read: int = 0
    written: int = 0
    written_1h: int = 0

    @property
    def total(self) -> int:
        return self.fresh + self.read + self.written

    def as_dict(self) -> dict[str, Any]:
        return {
            "input_tokens": self.fresh,
            "cache_creation_input_tokens": self.written,
            "cache_read_input_tokens": self.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.written - self.written_1h,
                "ephemeral_1h_input_tokens": self.written_1h,
            },
        }


def prompt_pieces(body: dict[str, Any]) -> Iterator[tuple[bytes, str]]:
    """(bytes, time to live of the mark or "") of every piece of the prompt, in the order it is
    read.
    """
    for tool in body.get("tools", []):
        yield _piece("tool", tool)
    for block in blocks_of(body.get("system")):
        yield _piece("system", block)
    settings = {name: body[name] for name in OF_MESSAGES if name in body}
    before = compact(settings).encode() if settings else b""
    for message in body["messages"]:
        for block in blocks_of(message.get("content")):
            data, mark = _piece(message["role"], block)
            yield before + data, mark
            before = b""


def _piece(role: str, block: Block) -> tuple[bytes, str]:
    marks = [block.get("cache_control")]
    bare = {name: value for name, value in block.items() if name != "cache_control"}
    if block.get("type") == "tool_result" and isinstance(block.get("content"), list):
        marks += [part.get("cache_control") for part in block["content"]]
        bare["content"] = [
            {k: v for k, v in part.items() if k != "cache_control"} for part in block["content"]
        ]
    mark = next(filter(None, marks), None)
    return role.encode() + compact(bare).encode(), mark.get("ttl", "5m") if mark else ""


class AnthropicPromptCache:
    def __init__(self, clock: SimulatedClock | None = None) -> None:
        self._kept = KeptPrefixes(MOST_PREFIXES, clock)

    def measure(self, body: dict[str, Any], owner: str) -> InputUsage:
        """Return the cost of the prompt for `owner` (credential and model), and keep the prompt's
        marked prefixes.
        """
        found = list(prompt_pieces(body))
        if found and (whole := body.get("cache_control")):
            # A mark on the whole request stands for a mark on its last piece.
            found[-1] = (found[-1][0], whole.get("ttl", "5m"))
        digest = hashlib.sha256(owner.encode())
        ends: list[int] = []  # tokens up to the end of each piece
        prefixes: list[bytes] = []
        # One digest runs on through all pieces, so its value at each place stands for the whole
        # prefix up to there.
        for data, _ in found:
            digest.update(data)
            ends.append((ends[-1] if ends else 0) + text_tokens(len(data)))
            prefixes.append(digest.digest())
        marks = [
            (place, mark)
            for place, (_, mark) in enumerate(found)
            if mark and ends[place] >= LEAST_CACHED_TOKENS
        ]
        hits = [
            place
            for end, _ in marks
            for place in range(max(0, end - LOOKED_AT + 1), end + 1)
            if ends[place] >= LEAST_CACHED_TOKENS and prefixes[place] in self._kept
        ]
        read = ends[max(hits)] if hits else 0
        self._kept.use(prefixes[place] for place in hits)
        return self._write(marks, ends, prefixes, read)

    def _write(
        self, marks: list[tuple[int, str]], ends: list[int], prefixes: list[bytes], read: int
    ) -> InputUsage:
        """Keep the prefixes at the marks behind the `read` tokens, and return what all costs."""
        reached = read
        written = written_1h = 0
        for place, mark in marks:
            if ends[place] <= read:
                continue
            written += ends[place] - reached
            written_1h += ends[place] - reached if mark == "1h" else 0
            reached = ends[place]
            self._kept.keep(prefixes[place], LIFETIMES[mark])
        total = ends[-1] if ends else 0
        return InputUsage(total - reached, read, written, written_1h)
