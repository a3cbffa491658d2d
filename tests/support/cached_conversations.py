"""Conversations as clients send them, and a provider's strict cache that counts them: for tests of
why a prompt was not read from the cache.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from analytics.consumer import MOST_RESTORED
from analytics.recent_prompts import MOST_OF_CONVERSATION, RecentPrompts
from analytics.store import Store
from gateway.metering.fingerprinting import LEAST_TOKENS, fingerprint_of
from shared.accounts.prices import Prices
from shared.bus.channels import AccessRecord
from simulator.anthropic.usage import AnthropicPromptCache
from simulator.clock import SimulatedClock
from simulator.codex.usage import CodexPromptCache

Json = dict[str, Any]
STARTED = 1_790_000_000.0  # UTC seconds
OPUS, SONNET = "claude-opus-4-1", "claude-sonnet-4-5"
WORDS = ["sea", "wave", "stone", "light", "tree", "river", "cloud", "house", "road", "bird"]


@dataclass(frozen=True, slots=True)
class Step:
    """One request, `after` seconds after the one before, and what is expected of its explanation:
    the cause ("" for a hit), a part of the sentence, and whether tokens were missed.

    `late`: the record arrives after the next one. `twice`: it arrives a second time. `beside`: the
    request is sent while the reply to the one before has not begun. `evicted`: the provider has
    lost everything. `restarted`: analytics begins anew before the record arrives. `fails`: the
    provider refuses the request.
    """

    body: Json
    cause: str = ""
    words: str = ""
    after: float = 10.0
    session: str = "session"
    agent: str = ""
    caller: str = "me"
    billed_to: str = "subscription"
    told: str = ""
    late: bool = False
    twice: bool = False
    beside: bool = False
    evicted: bool = False
    restarted: bool = False
    fails: bool = False


class TextOf:
    """Texts that a seed decides."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def __call__(self, words: int = 120) -> str:
        return " ".join(self.random.choices(WORDS, k=words))


def tool(name: str, text: str = "does a thing") -> Json:
    return {"name": name, "description": text, "input_schema": {"type": "object"}}


def text_block(text: str) -> Json:
    return {"type": "text", "text": text}


def call_and_result(text: TextOf, number: int) -> list[Json]:
    name = f"toolu_{number}_{text.random.getrandbits(32):x}"
    call = {"type": "tool_use", "id": name, "name": "Read", "input": {"n": number}}
    result = {"type": "tool_result", "tool_use_id": name, "content": text()}
    return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]


def conversation(text: TextOf, turns: int = 4, *, ttl: str = "5m", model: str = OPUS) -> Json:
    """A request as an agent sends it: tools, a system prompt, and `turns` calls with results."""
    messages: list[Json] = [{"role": "user", "content": [text_block(text())]}]
    for number in range(turns):
        messages += call_and_result(text, number)
    body = {
        "model": model,
        "tools": [tool(name, text(40)) for name in ("Read", "Write", "Bash", "Grep")],
        "system": [text_block(text(900)), text_block(text(100))],
        "messages": messages,
    }
    return marked(body, ttl)


def marked(body: Json, ttl: str = "5m", system_ttl: str = "") -> Json:
    """The request with marks as Claude Code sets them: at the ends of the system prompt and of the
    messages, and nowhere else.
    """
    body = unmarked(body)
    long = {"type": "ephemeral", "ttl": system_ttl or ttl}
    if isinstance(body.get("system"), list) and body["system"]:
        body["system"][-1]["cache_control"] = long
    last = body["messages"][-1]
    if isinstance(last["content"], str):
        last["content"] = [text_block(last["content"])]
    last["content"][-1]["cache_control"] = {"type": "ephemeral", "ttl": ttl}
    return body


def unmarked(body: Json) -> Json:
    body = copy.deepcopy(body)
    body.pop("cache_control", None)
    blocks = [*(body.get("system") or [] if isinstance(body.get("system"), list) else [])]
    for message in body["messages"]:
        blocks += message["content"] if isinstance(message["content"], list) else []
    for block in blocks:
        block.pop("cache_control", None)
    return body


def next_turn(body: Json, text: TextOf, turns: int = 1, *, ttl: str = "5m") -> Json:
    """The request with `turns` more calls and results, and its last mark at the new end."""
    longer = unmarked(body)
    for number in range(turns):
        longer["messages"] += call_and_result(text, len(longer["messages"]) + number)
    return marked(longer, ttl)


def changed(body: Json, **parts: Any) -> Json:
    return copy.deepcopy(body) | parts


def codex_request(text: TextOf, items: int = 6, **parts: Any) -> Json:
    return {
        "model": "gpt-5.5",
        "instructions": text(900),
        "prompt_cache_key": "session",
        "tools": [{"type": "function", "name": name} for name in ("shell", "patch")],
        "input": [codex_item(text, number) for number in range(items)],
        **parts,
    }


def codex_item(text: TextOf, number: int) -> Json:
    kind = "input_text" if number % 2 == 0 else "output_text"
    role = "user" if number % 2 == 0 else "assistant"
    content = [{"type": kind, "text": text()}]
    return {"type": "message", "role": role, "id": f"msg_{number}", "content": content}


@dataclass
class CountingProvider:
    """Both providers with their strict caches, and analytics that explains what they counted."""

    folder: Path
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    passed: float = 0.0
    records: list[AccessRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.prices = Prices(self.folder / "no-price-list.json")
        self.prompts = RecentPrompts(self.prices)
        self.lose_everything()

    def lose_everything(self) -> None:
        self.anthropic = AnthropicPromptCache(self.clock)
        self.codex = CodexPromptCache(self.clock)

    async def answer(self, step: Step) -> AccessRecord:
        """The record of one request, with the counts of the cache."""
        if not step.beside:
            self.clock.forward(step.after)
        self.passed += 0.1 if step.beside else step.after
        if step.evicted:
            self.lose_everything()
        record = AccessRecord(
            f"r{len(self.records)}",
            STARTED + self.passed,
            caller=step.caller,
            session_id=step.session,
            agent_id=step.agent,
            model=step.body["model"],
            billed_to=step.billed_to,
            cache_miss_reason=step.told,
            first_byte_ms=1000.0,
            duration_ms=2000.0,
        )
        if step.fails:
            record.status_code = 529
        else:
            self._count(record, step)
            if record.tokens_input + record.cache_read_tokens + record.cache_write_tokens >= (
                LEAST_TOKENS
            ):
                kind = "responses" if record.provider == "codex" else "messages"
                record.fingerprint = (await fingerprint_of(kind, step.body)).written()
        self.records.append(record)
        return record

    def _count(self, record: AccessRecord, step: Step) -> None:
        owner = f"{step.billed_to} {record.model}"
        if "input" in step.body:
            record.provider = "codex"
            request = SimpleNamespace(
                body=step.body,
                items=step.body["input"],
                model=SimpleNamespace(slug=record.model),
            )
            total, cached = self.codex.measure(request, owner)  # type: ignore[arg-type]
            record.tokens_input = total - cached
            record.cache_read_tokens = cached
            return
        record.provider = "claude"
        # A request beside another one finds what was there before that one.
        cache = AnthropicPromptCache() if step.beside else self.anthropic
        used = cache.measure(step.body, owner)
        record.tokens_input = used.fresh
        record.cache_read_tokens = used.read
        record.cache_write_tokens = used.written
        record.cache_write_1h_tokens = used.written_1h

    async def restart(self) -> None:
        """Begin analytics anew with what is in its database."""
        store = Store(self.folder / "restarted.duckdb")
        await store.open()
        try:
            await store.insert(self.records)
            bounds = {"each": MOST_OF_CONVERSATION // 2, "most": MOST_RESTORED}
            rows = await store.query("recent_prompts", bounds)
        finally:
            await store.close()
        self.prompts = RecentPrompts(self.prices)
        self.prompts.restore(rows)
