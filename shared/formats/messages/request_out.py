"""A Prompt as a Messages request for one model.

The same prompt always gives the same bytes, and a longer conversation begins with those of the
shorter one: prompt caches and thinking signatures hang on it. What a model cannot take is mapped to
the nearest it can, and named (`target`). This module writes the conversation and the request around
it; `tools_out` and `settings_out` write the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from shared.formats import ir
from shared.formats.fields import drop_empty
from shared.formats.ir import Json
from shared.formats.json_text import may_hold_halves, whole
from shared.formats.messages import blocks
from shared.formats.messages.settings_out import SettingsOut
from shared.formats.messages.target import Target
from shared.formats.messages.tools_out import ToolsOut, described_format
from shared.formats.property_keys import with_names
from shared.formats.written import Capabilities, Written
from shared.runtime.errors import ClientError

DEFAULT_MAX_TOKENS = 32_000
"""For clients that name none: enough for long answers, and below what the 200k-window models
must keep free."""
BEFORE_A_GREETING = "(The assistant speaks first.)"
"""The service wants a conversation to begin with the user's turn."""
ONE_JSON_OBJECT = "Answer with exactly one JSON object and nothing else."


def write_prompt(prompt: ir.Prompt, capabilities: Capabilities) -> Written:
    """Return `prompt` as a Messages request, always for a stream. Raises ClientError for content
    without a place in this format.
    """
    return _Writing(Target(prompt, capabilities)).write()


class _Writing:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._tools = ToolsOut(target)
        self._settings = SettingsOut(target)
        self._wire_ids = blocks.WireIds()
        self._leading: list[Json] = []

    def write(self) -> Written:
        prompt = self._target.prompt
        # The order matters: writing the tools notes renamed arguments, which the calls in the turns
        # need; writing the turns finds instructions that belong to the system.
        tools, choice = self._tools.write()
        system = self._system()
        turns = self._turns()
        system += self._leading
        if self._target.prompt.messages and not turns:
            raise ClientError("messages: nothing is said in them.", param="messages")
        forced = choice is not None and choice["type"] in {"any", "tool"}
        max_tokens = min(prompt.max_tokens or DEFAULT_MAX_TOKENS, self._target.model.max_output)
        if prompt.max_tokens is not None and max_tokens < prompt.max_tokens:
            self._target.drop("max_tokens")
        thinking = self._settings.thinking(
            max_tokens, forced=forced, unsigned=_continues_unsigned_turn(turns)
        )
        # A client that named no limit did not mean to share it between thinking and answer.
        if prompt.max_tokens is None:
            max_tokens = min(max_tokens + thinking.budget, self._target.model.max_output)
        body: Json = {
            "model": prompt.model,
            "max_tokens": max_tokens,
            "stream": True,
            **drop_empty(system=system),
            "messages": turns,
            **drop_empty(
                tools=tools,
                tool_choice=choice,
                thinking=thinking.thinking,
                output_config=drop_empty(
                    effort=thinking.effort, format=self._tools.output_format()
                ),
                stop_sequences=self._settings.stop_sequences(),
                metadata=drop_empty(user_id=prompt.user),
                service_tier=self._settings.service_tier(),
                cache_control=blocks.cache_control(prompt.cache) if prompt.cache else None,
            ),
            **self._settings.sampling(thinking=thinking.thinking),
        }
        self._target.drop(*(("metadata",) if prompt.metadata else ()))
        self._target.drop(*(("verbosity",) if prompt.verbosity not in {None, "medium"} else ()))
        return Written(body, self._target.dropped)

    def _system(self) -> list[Json]:
        texts = [block for text in self._target.prompt.system for block in self._written(text)]
        wanted = self._target.prompt.response_format
        if wanted is None or self._tools.output_schema is not None:
            return texts
        self._target.drop("response_format")
        sentence = ONE_JSON_OBJECT
        if wanted.schema is not None:
            sentence += (
                " It must match this JSON Schema: "
                f"{json.dumps(described_format(wanted), ensure_ascii=False)}"
            )
        return [*texts, {"type": "text", "text": sentence}]

    def _turns(self) -> list[Json]:
        """Return the messages: neighbours of the same role are merged, and every result follows the
        call in the very next turn.
        """
        # OpenAI lets results stand anywhere after their call, the service wants all of them in the
        # very next turn. So calls wait here until the next turn of the user, and their results are
        # taken then.
        results = blocks.Results(self._target.prompt)
        turns: list[Json] = []
        waiting: list[tuple[ir.ToolCall, str]] = []

        def add(role: str, said: Iterable[Json]) -> None:
            for block in said:
                if not turns or turns[-1]["role"] != role:
                    turns.append({"role": role, "content": []})
                turns[-1]["content"].append(block)

        def answer_calls() -> None:
            add(
                "user",
                [self._tool_result(results.take(call), wire_id) for call, wire_id in waiting],
            )
            waiting.clear()

        for message in self._target.prompt.messages:
            said = [block for part in message.parts for block in self._written(part)]
            if message.role == "assistant":
                calls = [part for part in message.parts if isinstance(part, ir.ToolCall)]
                uses = [block for block in said if block["type"] == "tool_use"]
                waiting += [(call, use["id"]) for call, use in zip(calls, uses, strict=True)]
                add("assistant", said)
            elif said:
                answer_calls()
                add(*self._as_user_or_system(message.role, said))
            elif any(isinstance(part, ir.ToolResult) for part in message.parts):
                answer_calls()
        answer_calls()
        results.refuse_leftovers()
        if turns and turns[0]["role"] == "system":  # what the user said before was blank
            self._leading = turns.pop(0)["content"]
        # The service takes no system message right after the assistant's turn at the end, so it
        # becomes a turn of the user.
        if len(turns) > 1 and (turns[-2]["role"], turns[-1]["role"]) == ("assistant", "system"):
            turns[-1] = {
                "role": "user",
                "content": [as_user_text(block) for block in turns[-1]["content"]],
            }
        if turns and turns[0]["role"] == "assistant":
            turns.insert(
                0, {"role": "user", "content": [{"type": "text", "text": BEFORE_A_GREETING}]}
            )
        if turns and turns[-1]["role"] == "assistant":
            self._prefill(turns[-1])
        return turns

    def _as_user_or_system(self, role: str, said: list[Json]) -> tuple[str, list[Json]]:
        if role != "system" or self._target.model.system_messages:
            return role, said
        return "user", [as_user_text(block) for block in said]

    def _prefill(self, turn: Json) -> None:
        if not self._target.model.prefill:
            raise ClientError(
                "messages: the last message is the assistant's, which this model does not "
                "continue.",
                param="messages",
            )
        last = turn["content"][-1]
        if last["type"] == "text":
            turn["content"][-1] = last | {"text": last["text"].rstrip()}

    def _written(self, part: ir.Part) -> Iterator[Json]:
        """Yield a part as a block; yield no block for a blank or foreign part."""
        match part:
            case ir.Text(cache=cache) if part.text.strip():
                if part.phase:
                    self._target.drop("phase")
                yield self._target.mark(blocks.text_block(part), cache)
            case ir.Refusal() if part.text.strip():
                if part.phase:
                    self._target.drop("phase")
                yield blocks.text_block(part)
            case ir.Image(cache=cache):
                if part.detail not in {None, "auto"}:
                    self._target.drop("detail")
                yield self._target.mark(blocks.image_block(part), cache)
            case ir.Document(cache=cache):
                yield self._target.mark(blocks.document_block(part), cache)
            case ir.Thinking():
                yield from self._thinking_block(part)
            case ir.ToolCall(cache=cache):
                yield self._target.mark(self._tool_use(part), cache)
            case ir.Opaque(vendor="anthropic", data=data):
                yield data
            case ir.Opaque(data=data):
                self._target.drop_inside("messages", [str(data.get("type"))])

    def _thinking_block(self, part: ir.Thinking) -> Iterator[Json]:
        """Yield a thinking signed by Anthropic as a block; the service refuses any
        other thinking.
        """
        if part.vendor != "anthropic" or not part.signature:
            self._target.drop("reasoning")
        elif part.redacted:
            yield {"type": "redacted_thinking", "data": part.signature}
        else:
            yield {"type": "thinking", "thinking": part.text, "signature": part.signature}

    def _tool_use(self, call: ir.ToolCall) -> Json:
        """Return the call. Half a character, which a model may write, is replaced, as the service
        requires.
        """
        block = blocks.tool_use_block(call, self._wire_ids.take(call.id))
        block["input"] = with_names(block["input"], self._tools.renamed.get(block["name"], {}))
        # A cheap look at the text spares nearly every call the walk through its arguments.
        if not may_hold_halves(call.arguments):
            return block
        mended = whole(block["input"])
        if mended is not block["input"]:
            self._target.drop("tool_calls.arguments")
        return block | {"input": mended}

    def _tool_result(self, result: ir.ToolResult, wire_id: str) -> Json:
        told = drop_empty(
            content=[block for part in result.parts for block in self._written(part)],
            is_error=result.is_error or None,
        )
        block = {"type": "tool_result", "tool_use_id": wire_id, **told}
        return self._target.mark(block, result.cache)


def as_user_text(block: Json) -> Json:
    """Return an instruction as a block of the user's turn, for places where the service takes no
    system message.
    """
    return block | {"text": f"<system>\n{block['text']}\n</system>"}


def _continues_unsigned_turn(turns: list[Json]) -> bool:
    """Return True if the last assistant turn of an open tool loop begins without signed
    thinking.
    """
    if len(turns) < 2 or turns[-1]["content"][0]["type"] != "tool_result":
        return False
    # With thinking enabled the service would refuse such a turn, and a signature cannot be made up.
    return turns[-2]["content"][0]["type"] not in {"thinking", "redacted_thinking"}
