"""The cost of a prompt. Every piece of a prompt ends a prefix; a prefix seen before under the same
account, model and `prompt_cache_key` is read from the cache, from 1,024 tokens on and in steps of
128, until it was not used for ten minutes (a day where the request asks for it), as in the service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from simulator.clock import SimulatedClock
from simulator.codex.rules import CodexRequest, Item
from simulator.prefixes import KeptPrefixes
from simulator.script import ScriptedReply, compact, text_tokens

LEAST_CACHED_TOKENS = 1024
STEP = 128
MOST_PREFIXES = 20_000
LIFETIME_SECONDS = 600.0
LONG_LIFETIME_SECONDS = 86_400.0  # `prompt_cache_retention: "24h"`


def input_pieces(request: CodexRequest) -> Iterator[bytes]:
    """Yield the prompt in reading order."""
    yield compact(request.body.get("tools") or []).encode()
    yield (request.body.get("instructions") or "").encode()
    for item in request.items:
        yield compact({name: value for name, value in item.items() if name != "id"}).encode()


class CodexPromptCache:
    def __init__(self, clock: SimulatedClock | None = None) -> None:
        self._kept = KeptPrefixes(MOST_PREFIXES, clock)

    def measure(self, request: CodexRequest, owner: str) -> tuple[int, int]:
        """Return (input tokens, cached tokens among the input), and remember the prefixes. A prompt
        without a key is never cached.
        """
        key = request.body.get("prompt_cache_key")
        digest = hashlib.sha256(f"{owner} {request.model.slug} {key}".encode())
        total = cached = 0
        prefixes = []
        for piece in input_pieces(request):
            digest.update(piece)
            total += text_tokens(len(piece))
            prefix = digest.digest()
            if key and prefix in self._kept:
                cached = total
            prefixes.append(prefix)
        if key:
            long = request.body.get("prompt_cache_retention") == "24h"
            for prefix in prefixes:
                self._kept.keep(prefix, LONG_LIFETIME_SECONDS if long else LIFETIME_SECONDS)
        return total, cached - cached % STEP if cached >= LEAST_CACHED_TOKENS else 0


def usage_of(measured: tuple[int, int], reply: ScriptedReply) -> dict[str, Any]:
    total, cached = measured
    sizes = [(item["type"], text_tokens(spoken_size(item))) for item in reply.parts]
    spent = sum(size for _, size in sizes)
    return {
        "input_tokens": total,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": spent,
        "output_tokens_details": {
            "reasoning_tokens": sum(size for kind, size in sizes if kind == "reasoning")
        },
        "total_tokens": total + spent,
    }


def spoken_size(item: Item) -> int:
    """Return the bytes of the item counted as output tokens."""
    texts = [
        part.get("text") or part.get("refusal") or ""
        for part in item.get("content") or item.get("summary") or []
    ]
    return len("".join([*texts, item.get("arguments", ""), item.get("input", "")]).encode())
