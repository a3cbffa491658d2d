"""What the simulated model says. A scenario is a function from what was asked to a Reply; the name picks it.

Names come from the model (`claude-sim-NAME`) or from a directive, and stand in SCENARIOS and REFUSALS below with what
their numbers mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from simulator.anthropic.models import SIMULATED
from simulator.anthropic.problem import Problem
from simulator.anthropic.rules import THINKING_BLOCKS, Block, Request, blocks_of
from simulator.anthropic.seal import seal
from simulator.directives import Directives, read_directives
from simulator.sample import sample
from simulator.script import BYTES_PER_TOKEN, NAME, characters, echo, words

Fault = Literal["error", "cut", "stall", "hang"]

BIG_CHARACTERS = 200_000
SEARCH: Block = {
    "type": "server_tool_use",
    "id": "srvtoolu_sim1",
    "name": "web_search",
    "input": {"query": "simulators"},
}


@dataclass(frozen=True, slots=True)
class Reply:
    """`pace`: seconds between deltas. `piece`: characters in a delta, 0 for word by word. `fault_after`: deltas sent
    before the `fault`; `hang` comes before the headers."""

    blocks: list[Block]
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    pace: float = 0.0
    piece: int = 0
    pings: bool = False
    interleaved: bool = False
    fault: Fault | None = None
    fault_after: int = 3


@dataclass(slots=True)
class Ask:
    """The last prompt and what came back from the tools it started. `raw` is the whole decoded body."""

    request: Request
    raw: bytes
    prompt: str = ""
    directives: Directives = field(default_factory=Directives)
    results: list[str] = field(default_factory=list)
    first: int | None = None
    second: int | None = None

    @property
    def body(self) -> dict[str, Any]:
        return self.request.body


def read_ask(request: Request, raw: bytes) -> Ask:
    """Look back from the end: tool results, then the user turn that has none, which is the prompt they belong to."""
    ask = Ask(request, raw)
    for turn in reversed(request.turns):
        if turn.role != "user":
            continue
        results = [block for block in turn.blocks if block["type"] == "tool_result"]
        if turn is request.turns[-1]:
            ask.results = [_result_text(block) for block in results]
        if not results:
            texts = [block["text"] for block in turn.blocks if block["type"] == "text"]
            said = [text for text in texts if not text.startswith("<system-reminder>")]
            ask.prompt = said[-1] if said else ""
            ask.directives = read_directives("\n".join(said))
            break
    return ask


def _result_text(block: Block) -> str:
    text = "".join(part.get("text", f"[{part['type']}]") for part in blocks_of(block.get("content")))
    return text.partition("<system-reminder>")[0].strip()


def answer(request: Request, raw: bytes, salt: str) -> Reply:
    """The reply to a valid request; Problem for a scenario that refuses. `salt` makes this reply's ids its own."""
    ask = read_ask(request, raw)
    matched = NAME.fullmatch(ask.directives.scenario or _scenario_of(request.model.id))
    if matched is None or matched["name"] not in (*SCENARIOS, *REFUSALS):
        raise Problem(404, f"model: {request.body['model']}")
    ask.first, ask.second = (int(number) if number else None for number in matched.group("first", "second"))
    if matched["name"] in REFUSALS:
        raise refusal(matched["name"], ask.first)
    reply = SCENARIOS[matched["name"]](ask)
    if request.thinking == "enabled" and reply.blocks and reply.blocks[0]["type"] not in THINKING_BLOCKS:
        reply = replace(reply, blocks=[thought(ask), *reply.blocks])
    return _within_limits(_with_ids(reply, salt), request.body)


def _scenario_of(model: str) -> str:
    return model.removeprefix(SIMULATED) if model.startswith(SIMULATED) else "text"


def refusal(status: str, first: int | None) -> Problem:
    """`429-30`: come back in 30 seconds."""
    headers = {"x-should-retry": "true" if status in ("429", "500", "529") else "false"}
    if status == "429":
        headers["retry-after"] = str(first or 5)
    return Problem(int(status), REFUSALS[status], headers=headers)


def _with_ids(reply: Reply, salt: str) -> Reply:
    """Name the calls and sign the thoughts."""
    blocks = []
    for place, block in enumerate(reply.blocks):
        if block["type"] == "tool_use":
            block = {**block, "id": f"toolu_{salt}{place:02d}"}
        if block["type"] == "thinking":
            block = {**block, "signature": seal(block["thinking"], f"{salt}{place}")}
        blocks.append(block)
    return replace(reply, blocks=blocks)


def _within_limits(reply: Reply, body: dict[str, Any]) -> Reply:
    """Cut the text at the first stop sequence, and everything at `max_tokens`."""
    left = body["max_tokens"] * BYTES_PER_TOKEN
    kept: list[Block] = []
    for block in reply.blocks:
        if block["type"] == "text":
            stops = [
                (block["text"].find(stop), stop) for stop in body.get("stop_sequences", []) if stop in block["text"]
            ]
            if stops:
                place, stop = min(stops)
                block = {**block, "text": block["text"][:place]}
                reply = replace(reply, stop_reason="stop_sequence", stop_sequence=stop)
        size = output_size(block)
        if size > left:
            if block["type"] == "text" and left:
                kept.append({**block, "text": block["text"].encode()[:left].decode(errors="ignore")})
            return replace(reply, blocks=kept, stop_reason="max_tokens", stop_sequence=None)
        left -= size
        kept.append(block)
        if reply.stop_sequence:
            break
    return replace(reply, blocks=kept)


def output_size(block: Block) -> int:
    """Bytes that count as output tokens."""
    if block["type"] in ("tool_use", "server_tool_use"):
        return len(orjson.dumps(block["input"]))
    return len(str(block.get("text") or block.get("thinking") or "").encode())


def said(text: str) -> list[Block]:
    return [{"type": "text", "text": text}]


def thought(ask: Ask, text: str = "The simulated model thinks before it speaks.") -> Block:
    shown = ask.body.get("thinking", {}).get("display")
    visible = shown != "omitted" if shown else ask.request.model.line.thinking_shown
    return {"type": "thinking", "thinking": text if visible else "", "signature": ""}


def offered(ask: Ask) -> dict[str, dict[str, Any]]:
    """The request's own tools by name, unless it forbids calling them."""
    if ask.body.get("tool_choice", {}).get("type") == "none":
        return {}
    tools = ask.body.get("tools", [])
    return {tool["name"]: tool for tool in tools if "input_schema" in tool and not tool.get("defer_loading")}


def calls(ask: Ask, wanted: list[tuple[str, dict[str, Any]]]) -> list[Block]:
    if ask.body.get("tool_choice", {}).get("disable_parallel_tool_use"):
        wanted = wanted[:1]
    return [{"type": "tool_use", "id": "", "name": name, "input": arguments} for name, arguments in wanted]


def sampled(ask: Ask, count: int) -> list[tuple[str, dict[str, Any]]]:
    """`count` calls over the offered tools in turn, with inputs made from their schemas."""
    tools = list(offered(ask).values())
    chosen = [tools[place % len(tools)] for place in range(count)] if tools else []
    return [(tool["name"], sample(tool["input_schema"])) for tool in chosen]


def demanded(ask: Ask) -> list[tuple[str, dict[str, Any]]]:
    """What has to be called: the directives' tools until they are answered, else what `tool_choice` forces."""
    tools = offered(ask)
    if not ask.results and (wanted := [call for call in ask.directives.tools if call[0] in tools]):
        return wanted
    choice = ask.body.get("tool_choice", {"type": "auto"})
    if choice["type"] == "tool":
        return [(choice["name"], sample(tools[choice["name"]]["input_schema"]))]
    return sampled(ask, 1) if choice["type"] == "any" else []


def spoken(ask: Ask) -> str:
    """What the model says in words: the structured reply, or what it was told to say, or an echo."""
    if form := (ask.body.get("output_config") or {}).get("format") or ask.body.get("output_format"):
        return orjson.dumps(sample(form["schema"])).decode()
    return echo(ask.prompt, ask.directives, ask.results, ask.raw)


def plain(ask: Ask) -> Reply:
    if wanted := demanded(ask):
        return Reply(calls(ask, wanted), "tool_use")
    return Reply(said(spoken(ask)))


def long(ask: Ask) -> Reply:
    return Reply(said(words(ask.first or 200)))


def big(ask: Ask) -> Reply:
    size = ask.first or BIG_CHARACTERS
    return Reply(said(characters(size)), piece=4_096)


def slow(ask: Ask) -> Reply:
    """Milliseconds between words, and how many words."""
    return Reply(said(words(ask.second or 50)), pace=(20 if ask.first is None else ask.first) / 1000)


def tools(ask: Ask) -> Reply:
    """Several calls at once, then text."""
    wanted = [] if ask.results else sampled(ask, ask.first or max(2, len(offered(ask))))
    return Reply([*said("Let me look."), *calls(ask, wanted)], "tool_use") if wanted else plain(ask)


def interleaved(ask: Ask) -> Reply:
    return replace(tools(ask), interleaved=True)


def tool(ask: Ask) -> Reply:
    wanted = [] if ask.results else sampled(ask, 1)
    return Reply(calls(ask, wanted), "tool_use") if wanted else plain(ask)


def thinking(ask: Ask) -> Reply:
    reply = tool(ask) if ask.directives.tools else plain(ask)
    return replace(reply, blocks=[thought(ask), *reply.blocks])


def redacted(ask: Ask) -> Reply:
    return Reply([{"type": "redacted_thinking", "data": seal("", ask.prompt)}, *said(spoken(ask))])


def refusing(ask: Ask) -> Reply:
    details = {"type": "refusal", "category": "cyber", "explanation": "The simulated model declines."}
    return Reply(said("I cannot") if ask.first else [], "refusal", stop_details=details)


def stop_sequence(ask: Ask) -> Reply:
    ending = next(iter(ask.body.get("stop_sequences", [])), "")
    return Reply(said(f"{words(5)} {ending} {words(5)}"))


def pause_turn(ask: Ask) -> Reply:
    if ask.request.turns[-1].role == "assistant":
        return web_search(ask)
    return Reply([*said("I will search."), SEARCH], "pause_turn")


def web_search(ask: Ask) -> Reply:
    found = {
        "type": "web_search_result",
        "url": "https://example.com/simulators",
        "title": "Simulators",
        "encrypted_content": seal("", "content"),
        "page_age": None,
    }
    citation = {
        "type": "web_search_result_location",
        "url": found["url"],
        "title": found["title"],
        "encrypted_index": seal("", "index"),
        "cited_text": "A simulator imitates.",
    }
    paused = ask.request.turns[-1].role == "assistant"
    blocks: list[Block] = [
        {"type": "web_search_tool_result", "tool_use_id": SEARCH["id"], "content": [found]},
        *said("According to the web, "),
        {"type": "text", "text": "a simulator imitates", "citations": [citation]},
        *said("."),
    ]
    return Reply(blocks if paused else [SEARCH, *blocks])


def faulty(fault: Fault) -> Callable[[Ask], Reply]:
    """The fault comes after this many deltas (default 3)."""
    return lambda ask: Reply(said(words(50)), fault=fault, fault_after=3 if ask.first is None else ask.first)


SCENARIOS: dict[str, Callable[[Ask], Reply]] = {
    "text": plain,  # echo, directives, forced tools, structured output
    "long": long,  # words (200)
    "big": big,  # characters (200,000)
    "slow": slow,  # milliseconds between words (20) x words (50)
    "tools": tools,  # calls (one per tool, at least two)
    "interleaved": interleaved,  # the same with all blocks open at once
    "tool": tool,
    "thinking": thinking,
    "redacted": redacted,
    "refusal": refusing,  # any number: after some text
    "pings": lambda ask: replace(plain(ask), pings=True),
    "max-tokens": lambda ask: Reply(said(words(20)), "max_tokens"),
    "stop-sequence": stop_sequence,
    "pause-turn": pause_turn,
    "web-search": web_search,
    "empty": lambda ask: Reply([]),
    "error": faulty("error"),
    "cut": faulty("cut"),
    "stall": faulty("stall"),
    "hang": faulty("hang"),
}
REFUSALS = {
    "400": "The simulator refuses this request, as it was asked to.",
    "401": "invalid x-api-key",
    "403": "Your API key does not have permission to use the specified resource.",
    "404": "model: not available",
    "413": "Request exceeds the maximum size",
    "429": "This request would exceed your account's rate limit. Please try again later.",
    "500": "Internal server error",
    "529": "Overloaded",
}
