"""The refusals of the Messages service beyond field shapes: the relations of blocks, and the
demands of a model.

Each rule looks at one `AnthropicRequest` and raises a 400 in the service's words (those marked
`unmeasured` are ours).
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

from simulator.anthropic.access import VERSION_2026
from simulator.anthropic.fields import SERVER_RESULTS
from simulator.anthropic.problem import refuse
from simulator.anthropic.request import AnthropicRequest, Block, RoleTurn, blocks_of, each_block
from simulator.anthropic.schema_rules import check_schemas, strict_budget
from simulator.seal import THOUGHTS

ONLY_IN = {
    "tool_use": "assistant",
    "thinking": "assistant",
    "redacted_thinking": "assistant",
    "server_tool_use": "assistant",
    "tool_result": "user",
    "image": "user",
}
PAUSED_AT = ("server_tool_use", *SERVER_RESULTS)
THINKING_BLOCKS = ("thinking", "redacted_thinking")
MAX_CACHE_MARKS = 4
INTERLEAVED = "interleaved-thinking-2025-05-14"
MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}


def roles(request: AnthropicRequest) -> None:
    messages = request.body["messages"]
    if not messages:
        refuse("messages: at least one message is required")
    if messages[0]["role"] != "user":
        refuse('messages: first message must use the "user" role')
    for number, message in enumerate(messages):
        if message["role"] == "system" and not request.model.line.system_role:
            refuse(f"messages.{number}: role 'system' is not supported on this model")
        if message.get("content") or (message["role"] == "system" and message.get("output_config")):
            continue
        if message["role"] != "assistant" or number != len(messages) - 1:
            refuse(
                f"messages.{number}: all messages must have non-empty content except for the "
                "optional final assistant message"
            )


def placement(request: AnthropicRequest) -> None:
    for where, message, block in each_block(request):
        role = ONLY_IN.get(block["type"], message["role"])
        if role != message["role"]:
            refuse(f"{where}: `{block['type']}` blocks can only be in `{role}` messages")


def check_text(request: AnthropicRequest) -> None:
    places = [("system", block) for block in blocks_of(request.body.get("system"))]
    places += [("messages", block) for _, _, block in each_block(request)]
    for where, block in places:
        if block["type"] == "text" and not block["text"].strip():
            problem = "contain non-whitespace text" if block["text"] else "be non-empty"
            refuse(f"{where}: text content blocks must {problem}")


def tool_pairs(request: AnthropicRequest) -> None:
    """Every call is answered first thing in the next user turn, once, and nothing else
    is answered.
    """
    asked: list[str] = []
    number = 0
    seen: set[str] = set()
    # A last, empty user turn is added, so that calls at the very end are found unanswered by the
    # same rule.
    for turn in [*request.turns, RoleTurn("user", len(request.body["messages"]), [])]:
        if turn.role == "user":
            _answers(turn, asked, number)
        asked = [block["id"] for block in turn.blocks if block["type"] == "tool_use"]
        number = turn.number
        if seen.intersection(asked) or len(set(asked)) < len(asked):
            refuse(f"messages.{number}: `tool_use` ids must be unique")
        seen.update(asked)


def _answers(turn: RoleTurn, asked: list[str], asked_at: int) -> None:
    # Results count as answers only at the beginning of the turn: the service refuses them after any
    # other block.
    first = [b["tool_use_id"] for b in takewhile(lambda b: b["type"] == "tool_result", turn.blocks)]
    every = Counter(b["tool_use_id"] for b in turn.blocks if b["type"] == "tool_result")
    if missing := [name for name in asked if name not in first]:
        refuse(
            f"messages.{asked_at}: `tool_use` ids were found without `tool_result` blocks "
            f"immediately after: {', '.join(missing)}. Each `tool_use` block must have a "
            "corresponding `tool_result` block in the next message."
        )
    for name, count in every.items():
        if name not in asked:
            refuse(
                f"messages.{turn.number}.content: unexpected `tool_use_id` found in `tool_result` "
                f"blocks: {name}. Each `tool_result` block must have a corresponding `tool_use` "
                "block in the previous message."
            )
        if count > 1:
            refuse(
                f"messages.{turn.number}.content: each tool_use must have a single result. "
                f"Found multiple `tool_result` blocks with id: {name}"
            )


def ending(request: AnthropicRequest) -> None:
    """Refuse a prefill (a last assistant message) where the model takes none; a paused server-side
    tool is no prefill.
    """
    turn = request.turns[-1]
    last = turn.blocks[-1] if turn.blocks else {"type": "nothing"}
    if turn.role == "user" or last["type"] in PAUSED_AT:
        return
    if not request.model.line.prefill:
        refuse(
            "This model does not support assistant message prefill. The conversation must end with "
            "a user message."
        )
    if last["type"] == "text" and last["text"] != last["text"].rstrip():
        refuse("messages: final assistant content cannot end with trailing whitespace")


def check_tools(request: AnthropicRequest) -> None:
    names = Counter(tool.get("name") for tool in request.body.get("tools", []) if tool.get("name"))
    if names and max(names.values()) > 1:
        refuse("tools: Tool names must be unique.")
    choice = request.body.get("tool_choice")
    if not choice:
        return
    if not request.body.get("tools"):
        refuse("tool_choice: tool_choice may only be specified while providing tools")
    if choice["type"] == "tool" and choice["name"] not in names:
        refuse(f"Tool '{choice['name']}' not found in provided tools")
    if choice["type"] in ("any", "tool"):
        if not request.model.line.forced_tools:  # unmeasured words
            refuse(
                f"tool_choice.type: `{choice['type']}` is not supported on this model. Use `auto` "
                "or `none`."
            )
        if request.thinking == "enabled":
            refuse("Thinking may not be enabled when tool_choice forces tool use.")


def thinking(request: AnthropicRequest) -> None:
    config = request.body.get("thinking", {})
    kind = request.thinking
    line = request.model.line
    limit = request.body.get("max_tokens")
    if kind and kind not in line.thinking:
        if kind == "adaptive":
            refuse("adaptive thinking is not supported on this model")
        advice = (
            'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
        )
        refuse(f'"thinking.type.{kind}" is not supported for this model. {advice}')
    if (
        config.get("display") == "updates"
        and "thinking-display-updates-2026-08-18" not in request.betas
    ):
        refuse(f"thinking.{kind}.display: Input should be 'summarized' or 'omitted'")
    if kind != "enabled":
        return
    if limit is not None and config["budget_tokens"] >= limit and INTERLEAVED not in request.betas:
        refuse("`max_tokens` must be greater than `thinking.budget_tokens`.")
    _thought_first(request)


def _thought_first(request: AnthropicRequest) -> None:
    """Refuse an assistant turn with answered tools and without thinking at the start."""
    if len(request.turns) < 2 or not any(
        b["type"] == "tool_result" for b in request.turns[-1].blocks
    ):
        return
    turn = request.turns[-2]
    if turn.blocks[0]["type"] not in THINKING_BLOCKS:
        refuse(
            f"messages.{turn.number}.content.0.type: Expected `thinking` or `redacted_thinking`, "
            f"but found `{turn.blocks[0]['type']}`. When `thinking` is enabled, a final "
            "`assistant` message must start with a thinking block."
        )


def check_effort(request: AnthropicRequest) -> None:
    levels = [request.body.get("output_config", {}).get("effort")]
    levels += [
        (message.get("output_config") or {}).get("effort") for message in request.body["messages"]
    ]
    accepted = request.model.line.effort
    for level in filter(None, levels):
        if not accepted:
            refuse("This model does not support the effort parameter.")
        if level not in accepted:
            listed = ", ".join(accepted)
            refuse(
                f"This model does not support effort level '{level}'. Supported levels: {listed}."
            )
        if (
            request.thinking == "disabled"
            and level in ("xhigh", "max")
            and request.model.line.system_role
        ):
            # unmeasured words
            refuse(f"output_config.effort: '{level}' is not supported when thinking is disabled")


def signatures(request: AnthropicRequest) -> None:
    for where, _, block in each_block(request):
        if (
            block["type"] == "thinking"
            and THOUGHTS.open(block["signature"], block["thinking"]) is None
        ):
            refuse(f"{where}: Invalid `signature` in `thinking` block")
        if block["type"] == "redacted_thinking" and THOUGHTS.open(block["data"]) is None:
            refuse(f"{where}: Invalid `data` in `redacted_thinking` block")


def sampling(request: AnthropicRequest) -> None:
    body = request.body
    line = request.model.line
    sent = [name for name in ("temperature", "top_p", "top_k") if name in body]
    if sent and not line.sampling:
        refuse(f"`{sent[0]}` is deprecated for this model.")
    if "temperature" in sent and "top_p" in sent and not line.temperature_with_top_p:
        refuse(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only "
            "one."
        )
    if request.thinking in ("enabled", "adaptive"):
        if body.get("temperature", 1) != 1:
            refuse(
                "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode."
            )
        if "top_k" in sent:
            refuse("`top_k` must be unset when thinking is enabled or in adaptive mode.")


def limits(request: AnthropicRequest) -> None:
    body = request.body
    most = request.model.line.max_tokens
    wanted = body.get("max_tokens")
    if wanted is not None and wanted > most:
        refuse(
            f"max_tokens: {wanted} > {most}, which is the maximum allowed number of output tokens "
            f"for {request.model.id}"
        )
    if wanted == 0 and body.get("stream"):
        refuse("max_tokens: must be at least 1 when `stream` is true")  # unmeasured words
    if any(not sequence.strip() for sequence in body.get("stop_sequences", [])):
        refuse("stop_sequences: each stop sequence must contain non-whitespace")


def cache_marks(request: AnthropicRequest) -> None:
    marks = [
        block["cache_control"] for block in _markable(request.body) if block.get("cache_control")
    ]
    if request.body.get("cache_control"):
        marks.append(request.body["cache_control"])
    if len(marks) > MAX_CACHE_MARKS:
        refuse(
            f"A maximum of {MAX_CACHE_MARKS} blocks with cache_control may be provided. Found "
            f"{len(marks)}."
        )
    lives = [mark.get("ttl", "5m") for mark in marks]
    # A longer life may not come after a shorter one, because a prefix lives only as long as its
    # shortest part.
    if "5m" in lives and "1h" in lives[lives.index("5m") :]:
        refuse("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.")


def _markable(body: dict[str, Any]) -> Iterator[Block]:
    """Yield every block with a possible `cache_control`, in the reading order of the prompt."""
    # Tools, system, messages: the order in which the prompt is read, whatever the order in the
    # JSON.
    yield from body.get("tools", [])
    yield from blocks_of(body.get("system"))
    for message in body["messages"]:
        for block in blocks_of(message.get("content")):
            if block["type"] == "tool_result":
                yield from blocks_of(block.get("content"))
            yield block


def check_media(request: AnthropicRequest) -> None:
    for where, _, block in each_block(request):
        inner = blocks_of(block.get("content")) if block["type"] == "tool_result" else [block]
        for item in inner:
            if item["type"] in ("image", "document") and item["source"]["type"] == "base64":
                _bytes_fit(f"{where}.{item['type']}.source.base64", item["source"])


def _bytes_fit(where: str, source: dict[str, str]) -> None:
    declared = source["media_type"]
    try:
        data = base64.b64decode(source["data"], validate=True)
    except (binascii.Error, ValueError):
        refuse(f"{where}.data: Input should be valid base64")
    if declared == "application/pdf":
        if not data.startswith(b"%PDF"):
            refuse(f"{where}.data: The PDF specified was not valid.")
        return
    actual = next((kind for magic, kind in MAGIC.items() if data.startswith(magic)), None)
    if actual is None:
        refuse(f"{where}.data: Could not process image")
    if actual != declared:
        refuse(
            f"{where}: The image was specified using the {declared} media type, but the image "
            f"appears to be a {actual} image"
        )


def dated(request: AnthropicRequest) -> None:
    """Refuse the fields removed by the version 2026-10-21."""
    if request.version != VERSION_2026:
        return
    for where, message, block in each_block(request):
        if block["type"] == "document" and message["role"] == "assistant":
            # unmeasured words
            refuse(f"{where}: `document` blocks are not permitted in `assistant` messages")
        inner = block["content"] if block["type"] == "search_result" else [block]
        if message["role"] == "user" and any(
            item.get("citations") for item in inner if item["type"] == "text"
        ):
            refuse(f"{where}.text.citations: Extra inputs are not permitted")


# The order in which the service finds faults: a request with two of them is refused for the first.
RULES: tuple[Callable[[AnthropicRequest], None], ...] = (
    roles, placement, check_text, tool_pairs, ending, check_tools, thinking, check_effort,
    signatures, sampling, limits, cache_marks, check_media, dated, check_schemas, strict_budget,
)  # fmt: skip


def enforce(request: AnthropicRequest) -> None:
    for rule in RULES:
        rule(request)
