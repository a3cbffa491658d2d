"""The prompts and replies of OpenAI's simulated models, in output items, and the scenarios only
they can play.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

from simulator.codex import images
from simulator.codex.models import SIMULATED
from simulator.codex.problem import CodexProblem, backend_error, challenge, detail
from simulator.codex.rules import CALLS, PREFIXES, CodexRequest, Item
from simulator.directives import read_directives
from simulator.script import (
    Ask,
    Refusal,
    Scenario,
    ScriptedReply,
    compact,
    faulty,
    perform,
    thoughtful,
    words,
)
from simulator.seal import KEY_REASONING, REASONING, Sealer

# Texts the real programs put between a person's words; the prompt is none of them.
NOT_SAID = ("<system-reminder>", "<environment_context>")
OVERLOADED = "Our servers are currently overloaded. Please try again later."
# In-stream failures: code, message.
FAILURES = {
    "failed": ("rate_limit_exceeded", "Rate limit reached. Please try again in 11.054s."),
    "context": ("context_length_exceeded", "Your input exceeds the context window of this model."),
    "overloaded": ("server_is_overloaded", OVERLOADED),
    "used-up": ("usage_limit_reached", "The usage limit has been reached"),
    "policy": ("cyber_policy", "This request was flagged for possible cybersecurity risk."),
}
THOUGHTS = ("**Looking**\n\nThe simulated model reads.", "**Answering**\n\nIt knows what to say.")


@dataclass(slots=True)
class ResponsesAsk(Ask):
    """A request of the Responses API. `offered` holds every tool of the request by name."""

    offered: dict[str, Item] = field(default_factory=dict)

    @property
    def _choice(self) -> Any:
        return self.body.get("tool_choice", "auto")

    @property
    def tools(self) -> dict[str, Item]:
        own = {
            name: tool
            for name, tool in self.offered.items()
            if tool["type"] in {"function", "custom"}
        }
        if isinstance(self._choice, dict) and self._choice["type"] == "allowed_tools":
            allowed = {tool.get("name") for tool in self._choice["tools"]}
            return {name: tool for name, tool in own.items() if name in allowed}
        return {} if self._choice == "none" else own

    @property
    def forced(self) -> list[Item]:
        choice = self._choice
        tools = self.tools
        if isinstance(choice, dict) and choice.get("name") in tools:
            return [tools[choice["name"]]]
        required = choice == "required" or (
            isinstance(choice, dict) and choice.get("mode") == "required"
        )
        return list(tools.values())[:1] if required and not self.results else []

    @property
    def parallel(self) -> bool:
        return self.body.get("parallel_tool_calls") is not False

    @property
    def schema(self) -> Any:
        return ((self.body.get("text") or {}).get("format") or {}).get("schema")

    def say(self, text: str, *, aside: bool = False) -> Item:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return message(part, "commentary" if aside else "final_answer")

    def think(self) -> Item:
        return {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": text} for text in THOUGHTS],
        }

    def call(self, tool: Item, arguments: dict[str, Any]) -> Item:
        """A custom tool takes text: the directive's `input`, or some."""
        named = {"name": tool["name"]} | (
            {"namespace": tool["namespace"]} if "namespace" in tool else {}
        )
        if tool["type"] == "custom":
            return {
                "type": "custom_tool_call",
                "call_id": "",
                **named,
                "input": arguments.get("input", "text"),
            }
        return {"type": "function_call", "call_id": "", **named, "arguments": compact(arguments)}


def message(part: Item, phase: str = "final_answer") -> Item:
    return {"type": "message", "role": "assistant", "phase": phase, "content": [part]}


def read_response_ask(request: CodexRequest, raw: bytes) -> ResponsesAsk:
    """Return the last words of a person and the tool results after them, found from the end of the
    request.
    """
    ask = ResponsesAsk(request.body, raw, offered=request.tools)
    for item in reversed(request.items):
        if item["type"] in CALLS.values():
            # The items are read from the end, the results told in the order of the input.
            ask.results.insert(0, text_of(item["output"]).partition(NOT_SAID[0])[0].strip())
        if item.get("role") == "user" and (said := spoken_texts(item["content"])):
            ask.prompt = said[-1]
            ask.directives = read_directives("\n".join(said))
            break
    return ask


def spoken_texts(content: str | list[Item]) -> list[str]:
    texts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
    return [text for text in texts if text and not text.startswith(NOT_SAID)]


def text_of(content: str | list[Item]) -> str:
    return (
        content
        if isinstance(content, str)
        else "".join(part.get("text", f"[{part['type']}]") for part in content)
    )


def scripted_response(
    request: CodexRequest, raw: bytes, salt: str, credential: str = ""
) -> ScriptedReply:
    """Return the reply to a valid request with `credential` (`login` or `api_key`). Raises
    CodexProblem for a refusing scenario.

    `salt` makes the ids of this reply unique.
    """
    slug = request.model.slug
    name = slug.removeprefix(SIMULATED) if slug.startswith(SIMULATED) else "text"
    ask = read_response_ask(request, raw)
    ask.credential = credential
    told = str(request.body.get("instructions"))
    drawn = images.wants_image(request.tools, request.body.get("tool_choice"), told, ask.prompt)
    reply = perform(ask, name, SCENARIOS, REFUSALS)
    # A scenario that was asked for by name is stronger than a prompt that says "draw".
    if drawn and reply and name == "text" and not ask.directives.scenario_for(credential):
        call = images.make_call(request.tools[images.TOOL], ask.prompt, public=request.public)
        reply = replace(reply, parts=[call])
    if reply is None:
        raise detail(f"The '{request.body['model']}' model plays no scenario of that name.")
    sealed = "reasoning.encrypted_content" in (request.body.get("include") or [])
    sealer = (KEY_REASONING if request.public else REASONING) if sealed else None
    items = [finished(item, f"{salt}{place:02d}", sealer) for place, item in enumerate(reply.parts)]
    return replace(reply, parts=items)


def finished(item: Item, salt: str, sealer: Sealer | None) -> Item:
    """Return the item with ids, and with a seal of `sealer` if it is given."""
    name = f"{PREFIXES.get(item['type'], 'ws')}_{salt}"
    if item["type"] == "reasoning":
        return {"id": name, **item, "encrypted_content": sealer.seal(name) if sealer else None}
    called = {"call_id": f"call_{salt}"} if item["type"] in CALLS else {}
    return {"id": name, **item, **called, "status": "completed"}


def web_search_response(ask: Ask) -> ScriptedReply:
    url = {"type": "url_citation", "url": "https://example.com/simulators", "title": "Simulators"}
    answered = ask.say("A simulator imitates.")
    answered["content"][0]["annotations"] = [{**url, "start_index": 0, "end_index": 11}]
    action: dict[str, Any] = {"type": "search", "query": "simulators"}
    if "web_search_call.action.sources" in (ask.body.get("include") or []):
        action["sources"] = [{"type": "url", "url": url["url"]}]
    return ScriptedReply([{"type": "web_search_call", "action": action}, answered])


def play_used_up_plan(ask: Ask) -> ScriptedReply:
    """`used-up-until-1796000000`: the plan is used up until that time, in UTC seconds."""
    left = (ask.first or 0) - time.time()
    if left > 0:
        raise usage_limit(math.ceil(left))
    return ScriptedReply([ask.say("The window is open.")])


SCENARIOS: dict[str, Scenario] = {
    "used-up-until": play_used_up_plan,
    "reasoning": thoughtful,
    "refusal": lambda _: ScriptedReply(
        [message({"type": "refusal", "refusal": "The simulated model declines."})]
    ),
    "web-search": web_search_response,
    "content-filter": lambda ask: ScriptedReply(
        [ask.say(words(ask.first or 5))], "content_filter"
    ),  # words
    **{name: faulty("failed", name) for name in FAILURES},
}


def usage_limit(seconds: int | None) -> CodexProblem:
    seconds = seconds or 3_600
    return backend_error(
        429,
        "The usage limit has been reached",
        kind="usage_limit_reached",
        plan_type="plus",
        resets_at=int(time.time()) + seconds,
        resets_in_seconds=seconds,
        headers={"x-codex-active-limit": "codex", "x-codex-primary-used-percent": "100.0"},
    )


def rate_limit(seconds: int | None) -> CodexProblem:
    retry = {"retry-after": str(seconds or 5)}
    return backend_error(
        429, "Rate limit reached for requests", code="rate_limit_exceeded", headers=retry
    )


REFUSALS: dict[str, Refusal] = {
    "400": lambda _: detail("The simulator refuses this request, as it was asked to."),
    "401": lambda _: backend_error(
        401, "Your authentication token has been invalidated.", code="token_invalidated"
    ),
    "403": lambda _: challenge(),  # a web page
    "404": lambda _: detail("Not Found", 404),
    "429": rate_limit,  # seconds
    "usage-limit": usage_limit,  # seconds
    "usage-not-included": lambda _: backend_error(
        429, "To use Codex, upgrade your plan.", kind="usage_not_included"
    ),
    "500": lambda _: backend_error(
        500, "The server had an error while processing your request.", kind="server_error"
    ),
    "503": lambda _: backend_error(
        503, OVERLOADED, kind="server_error", code="server_is_overloaded"
    ),
}
