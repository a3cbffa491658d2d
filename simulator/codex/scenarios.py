"""What the simulated model says. A scenario is a function from what was asked to a Reply; the name picks it.

Names come from the model (`gpt-sim-NAME`) or from a directive, and stand in SCENARIOS and REFUSALS below with what
their numbers mean.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from simulator.codex.models import SIMULATED
from simulator.codex.problem import Problem, challenge, detail, error
from simulator.codex.rules import CALLS, Item, Request
from simulator.codex.seal import seal
from simulator.directives import Directives, read_directives
from simulator.sample import sample
from simulator.script import NAME, characters, echo, words

Fault = Literal["error", "failed", "cut", "stall", "hang"]

# Texts the real programs put between a person's words; the prompt is none of them.
NOT_SAID = ("<system-reminder>", "<environment_context>")
BIG_CHARACTERS = 200_000
RESETS_IN = 11_054  # milliseconds
OVERLOADED = "Our servers are currently overloaded. Please try again later."
# In-stream failures: code, message.
FAILURES = {
    "failed": ("rate_limit_exceeded", f"Rate limit reached. Please try again in {RESETS_IN / 1000}s."),
    "context": ("context_length_exceeded", "Your input exceeds the context window of this model."),
    "overloaded": ("server_is_overloaded", OVERLOADED),
    "policy": ("cyber_policy", "This request was flagged for possible cybersecurity risk."),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """`items` as they are once done. `reason` makes it incomplete. `pace`: seconds between deltas; `piece`: characters
    in a delta, 0 for word by word; `fault_after`: deltas sent before the `fault`; `hang` comes before the headers."""

    items: list[Item]
    reason: str = ""
    failure: str = ""
    pace: float = 0.0
    piece: int = 0
    keep_alives: bool = False
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


def read_ask(request: Request, raw: bytes) -> Ask:
    """Look back from the end: tool results, then the last thing a person said, which is the prompt they belong to."""
    ask = Ask(request, raw)
    for item in reversed(request.items):
        if item["type"] in CALLS.values():
            ask.results.insert(0, text_of(item["output"]).partition("<system-reminder>")[0].strip())
        if item.get("role") == "user" and (said := spoken_texts(item["content"])):
            ask.prompt, ask.directives = said[-1], read_directives("\n".join(said))
            break
    return ask


def spoken_texts(content: str | list[Item]) -> list[str]:
    texts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
    return [text for text in texts if text and not text.startswith(NOT_SAID)]


def text_of(content: str | list[Item]) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", f"[{part['type']}]") for part in content)


def answer(request: Request, raw: bytes, salt: str) -> Reply:
    """The reply to a valid request; Problem for a scenario that refuses. `salt` makes this reply's ids its own."""
    ask = read_ask(request, raw)
    slug = request.model.slug
    name = ask.directives.scenario or (slug.removeprefix(SIMULATED) if slug.startswith(SIMULATED) else "text")
    matched = NAME.fullmatch(name)
    if matched is None or matched["name"] not in (*SCENARIOS, *REFUSALS):
        raise detail(f"The '{request.body['model']}' model plays no scenario of that name.")
    ask.first, ask.second = (int(number) if number else None for number in matched.group("first", "second"))
    if matched["name"] in REFUSALS:
        raise REFUSALS[matched["name"]](ask.first or 0)
    reply = SCENARIOS[matched["name"]](ask)
    sealed = "reasoning.encrypted_content" in (request.body.get("include") or [])
    return replace(
        reply, items=[finished(item, f"{salt}{place:02d}", sealed) for place, item in enumerate(reply.items)]
    )


def finished(item: Item, salt: str, sealed: bool) -> Item:
    """The item with its ids, and its seal where one was asked for."""
    prefix = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs"}
    name = f"{prefix.get(item['type'], 'ws')}_{salt}"
    done = {"id": name, **item}
    if item["type"] in CALLS:
        done["call_id"] = f"call_{salt}"
    if item["type"] == "reasoning":
        done["encrypted_content"] = seal(name) if sealed else None
    return done if item["type"] == "reasoning" else done | {"status": "completed"}


def said(text: str, phase: str = "final_answer", annotations: list[Item] | None = None) -> Item:
    part = {"type": "output_text", "text": text, "annotations": annotations or [], "logprobs": []}
    return {"type": "message", "role": "assistant", "phase": phase, "content": [part]}


def thought(*summary: str) -> Item:
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text} for text in summary]}


def call(tool: Item, arguments: Any) -> Item:
    """A custom tool takes text: the directive's `input`, or some."""
    named = {"name": tool["name"]} | ({"namespace": tool["namespace"]} if "namespace" in tool else {})
    if tool["type"] == "custom":
        return {"type": "custom_tool_call", "call_id": "", **named, "input": arguments.get("input", "text")}
    return {"type": "function_call", "call_id": "", **named, "arguments": orjson.dumps(arguments).decode()}


def callable_tools(ask: Ask) -> dict[str, Item]:
    """What the request lets the model call."""
    choice = ask.request.body.get("tool_choice", "auto")
    own = {name: tool for name, tool in ask.request.tools.items() if tool["type"] in {"function", "custom"}}
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        allowed = {tool.get("name") for tool in choice["tools"]}
        return {name: tool for name, tool in own.items() if name in allowed}
    return {} if choice == "none" else own


def calls(ask: Ask, wanted: list[tuple[Item, Any]]) -> list[Item]:
    if ask.request.body.get("parallel_tool_calls") is False:
        wanted = wanted[:1]
    return [call(tool, arguments) for tool, arguments in wanted]


def sampled(ask: Ask, count: int) -> list[tuple[Item, Any]]:
    """`count` calls over the offered tools in turn, with arguments made from their schemas."""
    tools = list(callable_tools(ask).values())
    chosen = [tools[place % len(tools)] for place in range(count)] if tools else []
    return [(tool, sample(tool.get("parameters") or {})) for tool in chosen]


def demanded(ask: Ask) -> list[tuple[Item, Any]]:
    """What has to be called: the directives' tools until they are answered, else what `tool_choice` forces."""
    tools = callable_tools(ask)
    if not ask.results and (wanted := [(tools[name], given) for name, given in ask.directives.tools if name in tools]):
        return wanted
    choice = ask.request.body.get("tool_choice", "auto")
    if isinstance(choice, dict) and choice.get("name") in tools:
        tool = tools[choice["name"]]
        return [(tool, sample(tool.get("parameters") or {}))]
    forced = choice == "required" or (isinstance(choice, dict) and choice.get("mode") == "required")
    return sampled(ask, 1) if forced and not ask.results else []


def plain(ask: Ask) -> Reply:
    if wanted := demanded(ask):
        return Reply(calls(ask, wanted))
    form = (ask.request.body.get("text") or {}).get("format") or {}
    if "schema" in form:
        return Reply([said(orjson.dumps(sample(form["schema"])).decode())])
    return Reply([said(echo(ask.prompt, ask.directives, ask.results, ask.raw))])


def reasoning(ask: Ask) -> Reply:
    reply = plain(ask)
    summary = ["**Looking**\n\nThe simulated model reads.", "**Answering**\n\nIt knows what to say."]
    return replace(reply, items=[thought(*summary), *reply.items])


def tools(ask: Ask) -> Reply:
    """A word of comment and several calls at once, then text."""
    wanted = [] if ask.results else sampled(ask, ask.first or max(2, len(callable_tools(ask))))
    return Reply([said("Let me look.", "commentary"), *calls(ask, wanted)]) if wanted else plain(ask)


def refusing(ask: Ask) -> Reply:
    del ask
    part = {"type": "refusal", "refusal": "The simulated model declines."}
    return Reply([{"type": "message", "role": "assistant", "phase": "final_answer", "content": [part]}])


def web_search(ask: Ask) -> Reply:
    del ask
    url = {"type": "url_citation", "url": "https://example.com/simulators", "title": "Simulators"}
    searched = {"type": "web_search_call", "action": {"type": "search", "query": "simulators"}}
    return Reply([searched, said("A simulator imitates.", annotations=[{**url, "start_index": 0, "end_index": 11}])])


def slow(ask: Ask) -> Reply:
    return Reply([said(words(ask.second or 50))], pace=(20 if ask.first is None else ask.first) / 1000)


def faulty(fault: Fault, failure: str = "failed") -> Callable[[Ask], Reply]:
    """The fault comes after this many deltas (default 3)."""
    return lambda ask: Reply(
        [said(words(50))], fault=fault, failure=failure, fault_after=3 if ask.first is None else ask.first
    )


SCENARIOS: dict[str, Callable[[Ask], Reply]] = {
    "text": plain,  # echo, directives, forced tools, structured output
    "long": lambda ask: Reply([said(words(ask.first or 200))]),  # words
    "big": lambda ask: Reply([said(characters(ask.first or BIG_CHARACTERS))], piece=4_096),  # characters
    "slow": slow,  # milliseconds between words (20) x words (50)
    "tools": tools,  # calls (one per tool, at least two)
    "reasoning": reasoning,
    "refusal": refusing,
    "web-search": web_search,
    "keep-alives": lambda ask: replace(plain(ask), keep_alives=True),
    "max-tokens": lambda ask: Reply([said(words(ask.first or 20))], "max_output_tokens"),
    "content-filter": lambda ask: Reply([said(words(ask.first or 5))], "content_filter"),
    "empty": lambda ask: Reply([]),
    "error": faulty("error"),
    **{name: faulty("failed", name) for name in FAILURES},
    "cut": faulty("cut"),
    "stall": faulty("stall"),
    "hang": faulty("hang"),
}


def usage_limit(seconds: int) -> Problem:
    seconds = seconds or 3_600
    return error(
        429,
        "The usage limit has been reached",
        kind="usage_limit_reached",
        plan_type="plus",
        resets_at=int(time.time()) + seconds,
        resets_in_seconds=seconds,
        headers={"x-codex-active-limit": "codex", "x-codex-primary-used-percent": "100.0"},
    )


def rate_limit(seconds: int) -> Problem:
    return error(429, "Rate limit reached for requests", code="rate_limit_exceeded",
                 headers={"retry-after": str(seconds or 5)})  # fmt: skip


REFUSALS: dict[str, Callable[[int], Problem]] = {
    "400": lambda _: detail("The simulator refuses this request, as it was asked to."),
    "401": lambda _: error(401, "Your authentication token has been invalidated.", code="token_invalidated"),
    "403": lambda _: challenge(),  # a web page
    "404": lambda _: detail("Not Found", 404),
    "429": rate_limit,  # seconds
    "usage-limit": usage_limit,  # seconds
    "usage-not-included": lambda _: error(429, "To use Codex, upgrade your plan.", kind="usage_not_included"),
    "500": lambda _: error(500, "The server had an error while processing your request.", kind="server_error"),
    "503": lambda _: error(503, OVERLOADED, kind="server_error", code="server_is_overloaded"),
}
