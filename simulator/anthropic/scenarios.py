"""The prompts and replies of Anthropic's simulated models, in content blocks, and the scenarios
only they can play.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from simulator.anthropic.models import SIMULATED
from simulator.anthropic.problem import AnthropicProblem
from simulator.anthropic.request import AnthropicRequest, Block, blocks_of
from simulator.anthropic.rules import THINKING_BLOCKS
from simulator.directives import read_directives
from simulator.script import (
    BYTES_PER_TOKEN,
    Ask,
    Refusal,
    Scenario,
    ScriptedReply,
    compact,
    perform,
    plain_reply,
    thoughtful,
    tools,
    words,
)
from simulator.seal import THOUGHTS

SEARCH: Block = {
    "type": "server_tool_use",
    "id": "srvtoolu_sim1",
    "name": "web_search",
    "input": {"query": "simulators"},
}
RETRIED = (429, 500, 529)
REMINDER = "<system-reminder>"  # what Claude Code puts between a person's words


@dataclass(slots=True)
class MessagesAsk(Ask):
    """`paused`: the turn that is asked for was begun by the assistant. `shows_thoughts`: unless
    told otherwise.
    """

    paused: bool = False
    shows_thoughts: bool = False

    @property
    def tools(self) -> dict[str, dict[str, Any]]:
        if self._choice == "none":
            return {}
        tools = self.body.get("tools", [])
        return {
            tool["name"]: tool
            for tool in tools
            if "input_schema" in tool and not tool.get("defer_loading")
        }

    @property
    def _choice(self) -> str:
        return str(self.body.get("tool_choice", {}).get("type", "auto"))

    @property
    def forced(self) -> list[dict[str, Any]]:
        if self._choice == "tool":
            return [self.tools[self.body["tool_choice"]["name"]]]
        return list(self.tools.values())[:1] if self._choice == "any" else []

    @property
    def parallel(self) -> bool:
        return not self.body.get("tool_choice", {}).get("disable_parallel_tool_use")

    @property
    def schema(self) -> Any:
        form = (
            (self.body.get("output_config") or {}).get("format")
            or self.body.get("output_format")
            or {}
        )
        return form.get("schema")

    def say(self, text: str, *, aside: bool = False) -> Block:
        del aside
        return {"type": "text", "text": text}

    def think(self) -> Block:
        shown = self.body.get("thinking", {}).get("display")
        visible = shown != "omitted" if shown else self.shows_thoughts
        text = "The simulated model thinks before it speaks." if visible else ""
        return {"type": "thinking", "thinking": text, "signature": ""}

    def call(self, tool: dict[str, Any], arguments: dict[str, Any]) -> Block:
        return {"type": "tool_use", "id": "", "name": tool["name"], "input": arguments}


def read_ask(request: AnthropicRequest, raw: bytes) -> MessagesAsk:
    """Return the last user prompt and the tool results after it, found from the end of
    the request.
    """
    last = request.turns[-1]
    ask = MessagesAsk(
        request.body,
        raw,
        paused=last.role == "assistant",
        shows_thoughts=request.model.line.thinking_shown,
    )
    # From the end: results of tools belong to this reply only in the last turn; the prompt is in
    # the last user turn without results.
    for turn in reversed(request.turns):
        if turn.role != "user":
            continue
        results = [block for block in turn.blocks if block["type"] == "tool_result"]
        if turn is last:
            ask.results = [_result_text(block) for block in results]
        if not results:
            texts = [block["text"] for block in turn.blocks if block["type"] == "text"]
            said = [text for text in texts if not text.startswith(REMINDER)]
            ask.prompt = said[-1] if said else ""
            ask.directives = read_directives("\n".join(said))
            break
    return ask


def _result_text(block: Block) -> str:
    text = "".join(
        part.get("text", f"[{part['type']}]") for part in blocks_of(block.get("content"))
    )
    return text.partition(REMINDER)[0].strip()


def scripted_message(
    request: AnthropicRequest, raw: bytes, salt: str, credential: str = ""
) -> ScriptedReply:
    """Return the reply to a valid request with `credential` (`login` or `api_key`). Raises
    AnthropicProblem for a refusing scenario.

    `salt` makes the ids of this reply unique.
    """
    ask = read_ask(request, raw)
    ask.credential = credential
    model = request.model.id
    name = model.removeprefix(SIMULATED) if model.startswith(SIMULATED) else "text"
    reply = perform(ask, name, SCENARIOS, REFUSALS)
    if reply is None:
        raise AnthropicProblem(404, f"model: {request.body['model']}")
    if (
        request.thinking == "enabled"
        and reply.parts
        and reply.parts[0]["type"] not in THINKING_BLOCKS
    ):
        reply = replace(reply, parts=[ask.think(), *reply.parts])
    reply = replace(
        reply,
        parts=[_finished(block, f"{salt}{place:02d}") for place, block in enumerate(reply.parts)],
    )
    return _within_limits(reply, request.body)


def _finished(block: Block, salt: str) -> Block:
    """Return the block with an id or a signature."""
    match block["type"]:
        case "tool_use":
            return {**block, "id": f"toolu_{salt}"}
        case "thinking":
            return {**block, "signature": THOUGHTS.seal(salt, block["thinking"])}
    return block


def _within_limits(reply: ScriptedReply, body: dict[str, Any]) -> ScriptedReply:
    """Cut the text at the first stop sequence, and everything at `max_tokens`."""
    left = body["max_tokens"] * BYTES_PER_TOKEN
    kept: list[Block] = []
    for block in reply.parts:
        if block["type"] == "text":
            text = block["text"]
            # The earliest place counts, whichever of the sequences stands there.
            if stops := [
                (text.find(stop), stop) for stop in body.get("stop_sequences", []) if stop in text
            ]:
                place, stop = min(stops)
                block = {**block, "text": text[:place]}
                reply = replace(reply, stop="stop_sequence", stop_sequence=stop)
        size = output_size(block)
        if size > left:
            if block["type"] == "text" and left:
                kept.append(
                    # Cut in bytes, as tokens are counted; half a character is left out.
                    {**block, "text": block["text"].encode()[:left].decode(errors="ignore")}
                )
            return replace(reply, parts=kept, stop="max_tokens", stop_sequence=None)
        left -= size
        kept.append(block)
        if reply.stop_sequence:
            break
    return replace(reply, parts=kept)


def output_size(block: Block) -> int:
    """Return the bytes of the block counted as output tokens."""
    if block["type"] in ("tool_use", "server_tool_use"):
        return len(compact(block["input"]).encode())
    return len(str(block.get("text") or block.get("thinking") or "").encode())


def interleaved(ask: Ask) -> ScriptedReply:
    return replace(tools(ask), interleaved=True)


def redacted(ask: Ask) -> ScriptedReply:
    spoken = plain_reply(ask)
    secret = {"type": "redacted_thinking", "data": THOUGHTS.seal(ask.prompt)}
    return replace(spoken, parts=[secret, *spoken.parts])


def refusing(ask: Ask) -> ScriptedReply:
    details = {
        "type": "refusal",
        "category": "cyber",
        "explanation": "The simulated model declines.",
    }
    return ScriptedReply(
        [ask.say("I cannot")] if ask.first else [], "refusal", stop_details=details
    )


def stop_sequence(ask: Ask) -> ScriptedReply:
    ending = next(iter(ask.body.get("stop_sequences", [])), "")
    return ScriptedReply([ask.say(f"{words(5)} {ending} {words(5)}")])


def web_search_message(ask: Ask, *, pausing: bool = False) -> ScriptedReply:
    """Return a server tool's call with its result in the same turn, or, `pausing`, in the
    continuation.
    """
    paused = isinstance(ask, MessagesAsk) and ask.paused
    if pausing and not paused:
        return ScriptedReply([ask.say("I will search."), SEARCH], "pause_turn")
    page = {"url": "https://example.com/simulators", "title": "Simulators"}
    found = {
        "type": "web_search_result",
        **page,
        "encrypted_content": THOUGHTS.seal("content"),
        "page_age": None,
    }
    cited = {"encrypted_index": THOUGHTS.seal("index"), "cited_text": "A simulator imitates."}
    citation = {"type": "web_search_result_location", **page, **cited}
    blocks: list[Block] = [
        {"type": "web_search_tool_result", "tool_use_id": SEARCH["id"], "content": [found]},
        ask.say("According to the web, "),
        {"type": "text", "text": "a simulator imitates", "citations": [citation]},
        ask.say("."),
    ]
    return ScriptedReply(blocks if paused else [SEARCH, *blocks])


def scripted_refusal(status: int, message: str, *, exhausts: bool = True) -> Refusal:
    """`429-30`: come back in 30 seconds. `exhausts`: what the caller has is used up until then."""

    def refuse(seconds: int | None) -> AnthropicProblem:
        headers = {"x-should-retry": str(status in RETRIED).lower()}
        return AnthropicProblem(
            status,
            message,
            headers=headers | ({"retry-after": str(seconds or 5)} if status == 429 else {}),
            exhausts=exhausts,
        )

    return refuse


def play_used_up_window(ask: Ask) -> ScriptedReply:
    """`used-up-until-1796000000`: the subscription is used up until that time, in UTC seconds."""
    left = (ask.first or 0) - time.time()
    if left > 0:
        raise REFUSALS["429"](math.ceil(left))
    return ScriptedReply([ask.say("The window is open.")])


SCENARIOS: dict[str, Scenario] = {
    "used-up-until": play_used_up_window,
    "interleaved": interleaved,  # `tools` with all blocks open at once
    "thinking": thoughtful,
    "redacted": redacted,
    "refusal": refusing,  # any number: after some text
    "stop-sequence": stop_sequence,
    "pause-turn": partial(web_search_message, pausing=True),
    "web-search": web_search_message,
}
REFUSALS: dict[str, Refusal] = {
    "400": scripted_refusal(400, "The simulator refuses this request, as it was asked to."),
    "401": scripted_refusal(401, "invalid x-api-key"),
    "403": scripted_refusal(
        403, "Your API key does not have permission to use the specified resource."
    ),
    "404": scripted_refusal(404, "model: not available"),
    "413": scripted_refusal(413, "Request exceeds the maximum size"),
    "429": scripted_refusal(
        429, "This request would exceed your account's rate limit. Please try again later."
    ),
    "throttled": scripted_refusal(  # seconds; a login keeps its window
        429, "Server is temporarily limiting requests. Please try again later.", exhausts=False
    ),
    "500": scripted_refusal(500, "Internal server error"),
    "529": scripted_refusal(529, "Overloaded"),
}
