"""A Prompt as a Messages request for one model.

The same prompt always gives the same bytes, and a longer conversation begins with those of the
shorter one: prompt caches and thinking signatures hang on it. What a model cannot take is mapped to
the nearest it can, and named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from shared.formats import ir
from shared.formats.efforts import effort_of_budget, nearest_effort
from shared.formats.fields import drop_empty
from shared.formats.ir import Json
from shared.formats.json_text import may_hold_halves, whole
from shared.formats.messages import blocks
from shared.formats.property_keys import with_names
from shared.formats.schemas import for_anthropic
from shared.formats.strict_schemas import StrictBudget, strict_for_anthropic
from shared.runtime.errors import ClientError

DEFAULT_MAX_TOKENS = 32_000
"""For clients that name none: enough for long answers, and below what the 200k-window models
must keep free."""
MOST_CACHE_MARKS = 4
LEAST_BUDGET = 1024
BUDGETS = {
    "minimal": 2048,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 32_768,
}
AnyTool: TypeAlias = ir.Tool | ir.WebSearch | ir.Opaque
BEFORE_A_GREETING = "(The assistant speaks first.)"
"""The service wants a conversation to begin with the user's turn."""
ONE_JSON_OBJECT = "Answer with exactly one JSON object and nothing else."


def write_prompt(prompt: ir.Prompt, capabilities: ir.Capabilities) -> ir.Written:
    """Return `prompt` as a Messages request, always for a stream. Raises ClientError for content
    without a place in this format.
    """
    return _Writing(prompt, capabilities).write()


def with_a_turn(prompt: ir.Prompt) -> ir.Prompt:
    """Return `prompt` with its instructions as a user turn if the prompt has no turn at all.

    OpenAI answers instructions alone; Anthropic requires a conversation that begins with the user.
    """
    if prompt.messages or not prompt.system:
        return prompt
    return replace(prompt, system=(), messages=(ir.Message("user", prompt.system),))


class _Thinking(NamedTuple):
    thinking: Json | None = None
    effort: str | None = None
    budget: int = 0


class _Writing:
    def __init__(self, prompt: ir.Prompt, capabilities: ir.Capabilities) -> None:
        self.prompt = with_a_turn(prompt)
        self.model = capabilities
        self.dropped = dict.fromkeys(prompt.dropped)
        self.marks_too_many = _count_marks(prompt) - MOST_CACHE_MARKS
        self.wire_ids = blocks.WireIds()
        self.strict_budget = StrictBudget()
        self.renamed_arguments: dict[
            str, Mapping[str, str]
        ] = {}  # by the name of the tool on the wire
        self.leading: list[Json] = []
        self.search = next((tool for tool in prompt.tools if isinstance(tool, ir.WebSearch)), None)
        self.output_schema = self.strict_output()

    def drop(self, *names: str) -> None:
        self.dropped.update(dict.fromkeys(map(self.prompt.spell, names)))

    def drop_inside(self, name: str, paths: Iterable[str]) -> None:
        """Report the `paths` inside the field `name` as left out of the request."""
        self.dropped.update({self.prompt.spell(name, path): None for path in paths})

    def write(self) -> ir.Written:
        prompt = self.prompt
        # The order matters: writing the tools notes renamed arguments, which the calls in the turns
        # need; writing the turns finds instructions that belong to the system.
        tools, choice = self.tools()
        system = self.system()
        turns = self.turns()
        system += self.leading
        if self.prompt.messages and not turns:
            raise ClientError("messages: nothing is said in them.", param="messages")
        forced = choice is not None and choice["type"] in {"any", "tool"}
        max_tokens = min(prompt.max_tokens or DEFAULT_MAX_TOKENS, self.model.max_output)
        if prompt.max_tokens is not None and max_tokens < prompt.max_tokens:
            self.drop("max_tokens")
        thinking = self.thinking(
            max_tokens, forced=forced, unsigned=_continues_unsigned_turn(turns)
        )
        # A client that named no limit did not mean to share it between thinking and answer.
        if prompt.max_tokens is None:
            max_tokens = min(max_tokens + thinking.budget, self.model.max_output)
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
                output_config=drop_empty(effort=thinking.effort, format=self.output_format()),
                stop_sequences=self.stop_sequences(),
                metadata=drop_empty(user_id=prompt.user),
                service_tier=self.service_tier(),
                cache_control=blocks.cache_control(prompt.cache) if prompt.cache else None,
            ),
            **self.sampling(thinking=thinking.thinking),
        }
        self.drop(*(("metadata",) if prompt.metadata else ()))
        self.drop(*(("verbosity",) if prompt.verbosity not in {None, "medium"} else ()))
        return ir.Written(body, tuple(self.dropped))

    def marked(self, block: Json, lifetime: str | None) -> Json:
        """The block with its cache mark; of too many marks the first go, for the last cover the
        most.
        """
        if lifetime is None:
            return block
        # The marks are counted before the writing, so that it is known here how many of the first
        # have to go.
        if self.marks_too_many > 0:
            self.marks_too_many -= 1
            self.drop("cache_control")
            return block
        return block | {"cache_control": blocks.cache_control(lifetime)}

    # --- conversation ---

    def system(self) -> list[Json]:
        texts = [block for text in self.prompt.system for block in self.written(text)]
        wanted = self.prompt.response_format
        if wanted is None or self.output_schema is not None:
            return texts
        self.drop("response_format")
        sentence = ONE_JSON_OBJECT
        if wanted.schema is not None:
            sentence += (
                " It must match this JSON Schema: "
                f"{json.dumps(described_format(wanted), ensure_ascii=False)}"
            )
        return [*texts, {"type": "text", "text": sentence}]

    def strict_output(self) -> Json | None:
        """Return the reply's schema in the service's dialect; None when only an instruction can
        express it.
        """
        wanted = self.prompt.response_format
        if wanted is None or wanted.schema is None or not self.model.structured_output:
            return None
        strict = strict_for_anthropic(described_format(wanted))
        if strict is None or not self.strict_budget.admit(strict.schema, is_tool=False):
            return None
        self.drop_inside("response_format.schema", strict.lost)
        return strict.schema

    def output_format(self) -> Json | None:
        return (
            {"type": "json_schema", "schema": self.output_schema}
            if self.output_schema is not None
            else None
        )

    def turns(self) -> list[Json]:
        """Return the messages: neighbours of the same role are merged, and every result follows the
        call in the very next turn.
        """
        # OpenAI lets results stand anywhere after their call, the service wants all of them in the
        # very next turn. So calls wait here until the next turn of the user, and their results are
        # taken then.
        results = blocks.Results(self.prompt)
        turns: list[Json] = []
        waiting: list[tuple[ir.ToolCall, str]] = []

        def add(role: str, said: Iterable[Json]) -> None:
            for block in said:
                if not turns or turns[-1]["role"] != role:
                    turns.append({"role": role, "content": []})
                turns[-1]["content"].append(block)

        def answer_calls() -> None:
            add(
                "user", [self.tool_result(results.take(call), wire_id) for call, wire_id in waiting]
            )
            waiting.clear()

        for message in self.prompt.messages:
            said = [block for part in message.parts for block in self.written(part)]
            if message.role == "assistant":
                calls = [part for part in message.parts if isinstance(part, ir.ToolCall)]
                uses = [block for block in said if block["type"] == "tool_use"]
                waiting += [(call, use["id"]) for call, use in zip(calls, uses, strict=True)]
                add("assistant", said)
            elif said:
                answer_calls()
                add(*self.as_user_or_system(message.role, said))
            elif any(isinstance(part, ir.ToolResult) for part in message.parts):
                answer_calls()
        answer_calls()
        results.refuse_leftovers()
        if turns and turns[0]["role"] == "system":  # what the user said before was blank
            self.leading = turns.pop(0)["content"]
        # The service takes no system message right after the assistant's turn at the end, so it
        # becomes a turn of the user.
        if len(turns) > 1 and (turns[-2]["role"], turns[-1]["role"]) == ("assistant", "system"):
            turns[-1] = {
                "role": "user",
                "content": [as_told(block) for block in turns[-1]["content"]],
            }
        if turns and turns[0]["role"] == "assistant":
            turns.insert(
                0, {"role": "user", "content": [{"type": "text", "text": BEFORE_A_GREETING}]}
            )
        if turns and turns[-1]["role"] == "assistant":
            self.prefill(turns[-1])
        return turns

    def as_user_or_system(self, role: str, said: list[Json]) -> tuple[str, list[Json]]:
        if role != "system" or self.model.system_messages:
            return role, said
        return "user", [as_told(block) for block in said]

    def prefill(self, turn: Json) -> None:
        if not self.model.prefill:
            raise ClientError(
                "messages: the last message is the assistant's, which this model does not "
                "continue.",
                param="messages",
            )
        last = turn["content"][-1]
        if last["type"] == "text":
            turn["content"][-1] = last | {"text": last["text"].rstrip()}

    def written(self, part: ir.Part) -> Iterator[Json]:
        """Yield a part as a block; yield no block for a blank or foreign part."""
        match part:
            case ir.Text(cache=cache) if part.text.strip():
                if part.phase:
                    self.drop("phase")
                yield self.marked(blocks.text_block(part), cache)
            case ir.Refusal() if part.text.strip():
                yield blocks.text_block(part)
            case ir.Image(cache=cache):
                if part.detail not in {None, "auto"}:
                    self.drop("detail")
                yield self.marked(blocks.image_block(part), cache)
            case ir.Document(cache=cache):
                yield self.marked(blocks.document_block(part), cache)
            case ir.Thinking():
                yield from self.thinking_block(part)
            case ir.ToolCall(cache=cache):
                yield self.marked(self.tool_use(part), cache)
            case ir.Opaque(vendor="anthropic", data=data):
                yield data
            case ir.Opaque(data=data):
                self.drop_inside("messages", [str(data.get("type"))])

    def thinking_block(self, part: ir.Thinking) -> Iterator[Json]:
        """Yield a thinking signed by Anthropic as a block; the service refuses any
        other thinking.
        """
        if part.vendor != "anthropic" or not part.signature:
            self.drop("reasoning")
        elif part.redacted:
            yield {"type": "redacted_thinking", "data": part.signature}
        else:
            yield {"type": "thinking", "thinking": part.text, "signature": part.signature}

    def tool_use(self, call: ir.ToolCall) -> Json:
        """Return the call. Half a character, which a model may write, is replaced, as the service
        requires.
        """
        block = blocks.tool_use_block(call, self.wire_ids.take(call.id))
        block["input"] = with_names(block["input"], self.renamed_arguments.get(block["name"], {}))
        # A cheap look at the text spares nearly every call the walk through its arguments.
        if not may_hold_halves(call.arguments):
            return block
        mended = whole(block["input"])
        if mended is not block["input"]:
            self.drop("tool_calls.arguments")
        return block | {"input": mended}

    def tool_result(self, result: ir.ToolResult, wire_id: str) -> Json:
        told = drop_empty(
            content=[block for part in result.parts for block in self.written(part)],
            is_error=result.is_error or None,
        )
        block = {"type": "tool_result", "tool_use_id": wire_id, **told}
        return self.marked(block, result.cache)

    # --- tools ---

    def tools(self) -> tuple[list[Json], Json | None]:
        choice = self.prompt.tool_choice or ir.ToolChoice()
        if choice.mode in {"required", "named"} and not self.model.forced_tools:
            self.drop("tool_choice")
            allowed = (choice.name,) if choice.mode == "named" else choice.allowed
            choice = ir.ToolChoice("auto", allowed=allowed)
        tools = [
            written
            for tool in without_repetitions(self.prompt.tools)
            if choice.allowed is None
            or not isinstance(tool, ir.Tool)
            or tool.name in choice.allowed
            for written in self.tool(tool)
        ]
        return tools, self.tool_choice(choice, offered=tools)

    def tool_choice(self, choice: ir.ToolChoice, *, offered: list[Json]) -> Json | None:
        if not offered:
            if choice.mode in {"required", "named"}:
                raise ClientError("tool_choice: there is no tool to choose.", param="tool_choice")
            return None
        written: Json = {"type": {"required": "any", "named": "tool"}.get(choice.mode, choice.mode)}
        if choice.mode == "named":
            written["name"] = next(
                (
                    blocks.wire_name(t.name, t.namespace)
                    for t in self.prompt.tools
                    if isinstance(t, ir.Tool) and t.name == choice.name
                ),
                choice.name,
            )
        if self.prompt.parallel_tools is False and choice.mode != "none":
            written["disable_parallel_tool_use"] = True
        return written if self.prompt.tool_choice or len(written) > 1 else None

    def tool(self, tool: ir.Tool | ir.WebSearch | ir.Opaque) -> Iterator[Json]:
        match tool:
            case ir.Tool(kind="custom"):
                if tool.grammar:
                    self.drop("tools.format")
                yield self.marked(blocks.custom_tool(tool), tool.cache)
            case ir.Tool():
                yield self.marked(self.function_tool(tool), tool.cache)
            case ir.WebSearch() if tool is not self.search:
                self.drop_inside("tools", [ir.WEB_SEARCH])  # the service takes one tool of a name
            case ir.WebSearch():
                if tool.context_size:
                    self.drop("search_context_size")
                yield blocks.web_search_tool(tool)
            case ir.Opaque(vendor="anthropic", data=data):
                yield data
            case ir.Opaque(data=data):
                self.drop_inside("tools", [str(data.get("type"))])

    def function_tool(self, tool: ir.Tool) -> Json:
        """A strict tool the service cannot promise to keep to the letter is offered as an ordinary
        one.
        """
        written = {
            "name": blocks.wire_name(tool.name, tool.namespace),
            **drop_empty(description=tool.description),
        }
        if tool.strict and self.model.structured_output:
            strict = strict_for_anthropic(tool.schema or {"properties": {}}, is_tool=True)
            if strict is not None and self.strict_budget.admit(strict.schema, is_tool=True):
                self.drop_inside("tools.schema", strict.lost)
                self.renamed_arguments[written["name"]] = strict.renamed
                return written | {"input_schema": strict.schema, "strict": True}
        if tool.strict:
            self.drop("tools.strict")
        repaired = for_anthropic(tool.schema)
        self.drop_inside("tools.schema", repaired.lost)
        self.renamed_arguments[written["name"]] = repaired.renamed
        return written | {"input_schema": repaired.schema}

    # --- settings ---

    def thinking(self, max_tokens: int, *, forced: bool, unsigned: bool) -> _Thinking:
        """Return the thinking settings. A forced tool excludes thinking; thinking yields, because
        the client named the tool.
        """
        asked = self.prompt.reasoning
        types = self.model.thinking
        wanted = asked.effort
        # Models that have no budgets any more have efforts
        if wanted is None and asked.mode == "enabled":
            wanted = "medium" if asked.budget is None else effort_of_budget(asked.budget)
        # Nothing was asked for, so the model's own default holds.
        if wanted is None and asked.mode is None:
            if asked.summary not in {None, "none"}:
                self.drop("summary")  # the model thinks as its default is
            return _Thinking()
        # Switched off where that is possible. A model that always thinks gets the least effort
        # instead, and the client is told.
        if asked.mode == "disabled" or wanted == "none":
            if "disabled" in types:
                return _Thinking(
                    {"type": "disabled"}, None if wanted in {None, "none"} else self.effort(wanted)
                )
            if not types:
                return _Thinking()
            self.drop("reasoning_effort")
            wanted = "low"
        effort = self.effort(wanted) if wanted else None
        # A budget is for models that take one: where the client asked in that form, or where the
        # model has no other.
        if "enabled" in types and (asked.mode == "enabled" or "adaptive" not in types):
            budget = self.budget(wanted or "medium", max_tokens, impossible=forced or unsigned)
            return _Thinking(
                {"type": "enabled", "budget_tokens": budget} if budget else None, effort, budget
            )
        # What is left are models that choose their own budget: they take a mode and an effort.
        mode = asked.mode if asked.mode in types else "adaptive"
        if mode not in types or forced:
            self.drop("reasoning_effort")
            return _Thinking(None, effort)
        if asked.summary in {None, "none"}:
            return _Thinking({"type": mode}, effort)
        return _Thinking(
            {"type": mode, "display": "omitted" if asked.summary == "omitted" else "summarized"},
            effort,
        )

    def budget(self, effort: str, max_tokens: int, *, impossible: bool) -> int:
        """Tokens to think with, 0 for none. What the client allows for all includes the answer; our
        default grows.
        """
        budget = self.prompt.reasoning.budget or BUDGETS[effort]
        if self.prompt.max_tokens is None:
            budget = min(budget, self.model.max_output - LEAST_BUDGET)
        # The service wants the budget below the limit, and the answer needs a part of the limit
        # too.
        elif budget >= max_tokens:
            budget = max_tokens * 3 // 4
        if impossible or budget < LEAST_BUDGET:
            self.drop("reasoning_effort")
            return 0
        return budget

    def effort(self, wanted: str) -> str | None:
        found = nearest_effort(wanted, self.model.efforts)
        if found and wanted not in {found, "minimal"}:
            self.drop("reasoning_effort")
        return found

    def sampling(self, *, thinking: Json | None) -> Json:
        """Return temperature and top_p as accepted by the model: older models accept either, newer
        and thinking models neither.
        """
        prompt = self.prompt
        thinks = thinking is not None and thinking["type"] != "disabled"
        refused = thinks or not self.model.sampling
        wanted = {"temperature": prompt.temperature, "top_p": prompt.top_p, "top_k": prompt.top_k}
        wanted = {
            name: value
            for name, value in wanted.items()
            if value is not None and (value != 1 or name == "top_k")
        }
        if refused:
            self.drop(*wanted)
            return {}
        if "temperature" in wanted and wanted.pop("top_p", None) is not None:
            self.drop("top_p")
        if (prompt.temperature or 0) > 1:
            self.drop("temperature")
            wanted["temperature"] = 1
        return wanted

    def stop_sequences(self) -> list[str]:
        stops = [stop for stop in self.prompt.stop if stop.strip()]
        if len(stops) < len(self.prompt.stop):
            self.drop("stop")
        return stops

    def service_tier(self) -> str | None:
        tier = self.prompt.service_tier
        if tier in {None, "auto", "priority"}:
            return tier and "auto"
        if tier not in {"default", "standard_only"}:
            self.drop("service_tier")
        return "standard_only"


def without_repetitions(
    tools: Sequence[ir.Tool | ir.WebSearch | ir.Opaque],
) -> list[ir.Tool | ir.WebSearch | ir.Opaque]:
    """Return the tools without exact repetitions, which the service refuses."""
    return [tool for place, tool in enumerate(tools) if tool not in tools[:place]]


def as_told(block: Json) -> Json:
    """Return an instruction as a block of the user's turn, for places where the service takes no
    system message.
    """
    return block | {"text": f"<system>\n{block['text']}\n</system>"}


def described_format(wanted: ir.ResponseFormat) -> Json:
    """Return the schema of the reply, with the format's own description where the
    schema has none.
    """
    schema = wanted.schema or {}
    return {"description": wanted.description, **schema} if wanted.description else schema


def _continues_unsigned_turn(turns: list[Json]) -> bool:
    """Return True if the last assistant turn of an open tool loop begins without signed
    thinking.
    """
    if len(turns) < 2 or turns[-1]["content"][0]["type"] != "tool_result":
        return False
    # With thinking enabled the service would refuse such a turn, and a signature cannot be made up.
    return turns[-2]["content"][0]["type"] not in {"thinking", "redacted_thinking"}


def _count_marks(prompt: ir.Prompt) -> int:
    parts = [part for message in prompt.messages for part in message.parts]
    inner = [part for result in parts if isinstance(result, ir.ToolResult) for part in result.parts]
    marks = (
        getattr(part, "cache", None)
        for part in (prompt, *prompt.tools, *prompt.system, *parts, *inner)
    )
    return sum(mark is not None for mark in marks)
