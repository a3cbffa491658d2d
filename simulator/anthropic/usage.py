"""Tokens, counted without a tokenizer: one for every four bytes of compact JSON or text, rounded
up, piece by piece.

A prompt is a sequence of pieces: each tool, each system block, each message block. A piece with
`cache_control` marks the end of a prefix; a prefix seen before under the same credential and model
is read from the cache, however far back its own mark was. Prefixes under 1,024 tokens are not
cached, as in the service.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from simulator.anthropic.rules import Block, blocks_of
from simulator.script import compact, text_tokens

LEAST_CACHED_TOKENS = 1024
MOST_PREFIXES = 10_000


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
    for message in body["messages"]:
        for block in blocks_of(message.get("content")):
            yield _piece(message["role"], block)


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


class PromptCache:
    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def measure(self, body: dict[str, Any], owner: str) -> InputUsage:
        """Return the cost of the prompt for `owner` (credential and model), and remember the
        prompt's prefixes.
        """
        found = list(prompt_pieces(body))
        if found and (whole := body.get("cache_control")):
            # A mark on the whole request stands for a mark on its last piece.
            found[-1] = (found[-1][0], whole.get("ttl", "5m"))
        digest = hashlib.sha256(owner.encode())
        total = read = end = 0
        life = ""
        written: list[bytes] = []
        # Prefixes after the last mark can neither be written nor read.
        last_mark = max((place for place, (_, mark) in enumerate(found) if mark), default=-1)
        # One digest runs on through all pieces, so its value at each place stands for the whole
        # prefix up to there.
        for place, (data, mark) in enumerate(found):
            digest.update(data)
            total += text_tokens(len(data))
            prefix = digest.digest()
            if place > last_mark or total < LEAST_CACHED_TOKENS:
                continue
            # A known prefix further on replaces a shorter one: the read reaches as far as the last
            # of them.
            if prefix in self._seen:
                self._seen.move_to_end(prefix)
                read = end = total
            elif mark:
                written.append(prefix)
                end = total
                life = mark
        # After the walk: a prefix written by this request is not read by it.
        self._remember(written)
        return InputUsage(total - end, read, end - read, end - read if life == "1h" else 0)

    def _remember(self, prefixes: list[bytes]) -> None:
        for prefix in prefixes:
            self._seen[prefix] = None
        while len(self._seen) > MOST_PREFIXES:
            self._seen.popitem(last=False)
