"""A native Responses request for the ChatGPT backend: as it came, but for what that backend refuses.

What the Codex program itself sends goes out unchanged, fields nobody here knows included.
"""

from __future__ import annotations

from typing import Any

from shared.formats import fields
from shared.formats.envelope import PREFIX
from shared.formats.ir import Json, Written
from shared.formats.openai_responses.reading import ENCRYPTED_REASONING, input_items
from shared.formats.openai_responses.writing import CODEX, DEFAULT_INSTRUCTIONS, Dialect

REFUSED_THERE = frozenset(
    {
        "context_management", "frequency_penalty", "max_completion_tokens", "max_output_tokens", "metadata",
        "presence_penalty", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "seed",
        "stream_options", "temperature", "top_logprobs", "top_p", "truncation", "user",
    }
)  # fmt: skip
"""What the ChatGPT backend answers with 400 "Unsupported parameter"."""

_STATE = "it needs a stored conversation, and the ChatGPT backend stores none"
_ID_PREFIXES = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs"}
BREAKPOINT = "prompt_cache_breakpoint"


def prepare(body: Json, dialect: Dialect = CODEX) -> Written:
    """`body` made acceptable, and what that cost; the very same object when nothing had to change.

    Raises ClientError for what the service behind cannot do at all.
    """
    if not dialect.codex:
        return Written(body, ())
    if body.get("background"):
        raise fields.refused("background", "the ChatGPT backend replies only while its caller waits")
    for name in ("previous_response_id", "conversation"):
        if body.get(name) is not None:
            raise fields.refused(name, _STATE)
    dropped: dict[str, None] = {name: None for name in body if name in REFUSED_THERE and body[name] is not None}
    if body.get("store"):
        dropped["store"] = None
    prepared = {name: value for name, value in body.items() if name not in REFUSED_THERE and name != "messages"}
    prepared |= {"input": _input(body, dropped), "stream": True, "store": False}
    include = fields.Object(body).optional("include", list) or []
    if ENCRYPTED_REASONING not in include:
        prepared["include"] = [*include, ENCRYPTED_REASONING]
    prepared |= _instructions(prepared, dialect)
    _fit(prepared, dropped)
    return Written(body if prepared == body else prepared, tuple(dropped))


def _input(body: Json, dropped: dict[str, None]) -> list[Json]:
    items = (_item(item, dropped) for item in input_items(body))
    return [item for item in items if item is not None]


def _item(asked: fields.Object, dropped: dict[str, None]) -> Json | None:
    """The item as the backend takes it: the same object if it does, None if nothing of it is left."""
    item, kind = asked.value, asked.get("type") or "message"
    if kind == "item_reference":
        raise fields.refused(asked.path, _STATE)
    if kind == "reasoning":
        sealed = asked.optional("encrypted_content", str) or ""
        if not sealed or sealed.startswith(PREFIX):  # an id alone points at nothing; another vendor's seal is noise
            dropped["input[].reasoning"] = None
            return None
    changed: Json = {}
    if item.get("role") == "system":
        changed["role"] = "developer"
    content = item.get("content")
    if isinstance(content, list) and any(BREAKPOINT in part for part in content if isinstance(part, dict)):
        dropped[f"input[].content[].{BREAKPOINT}"] = None
        changed["content"] = [_without(part, BREAKPOINT) for part in content]
    if item.get("id") and not str(item["id"]).startswith(_ID_PREFIXES.get(str(kind), "")):
        item = _without(item, "id")
    return item | changed if changed else item


def _without(shape: Any, name: str) -> Any:
    return {key: value for key, value in shape.items() if key != name} if isinstance(shape, dict) else shape


def _instructions(body: Json, dialect: Dialect) -> Json:
    """The operator's words beside the client's; some must be there, and a developer message counts as such."""
    items = body["input"]
    client = fields.Object(body).optional("instructions", str) or ""
    instructions, moved = dialect.instruct(client)
    if moved:
        items = [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": moved}]}, *items]
    if not instructions and not any(item.get("role") in ("system", "developer") for item in items):
        instructions = DEFAULT_INSTRUCTIONS
    return {"input": items, "instructions": instructions} if instructions != client else {}


def _fit(body: Json, dropped: dict[str, None]) -> None:
    """Values the backend knows by another name, or refuses."""
    tier = body.get("service_tier")
    if tier == "fast":
        body["service_tier"] = "priority"
    elif tier not in (None, "priority", "default"):
        del body["service_tier"]
        if tier != "auto":
            dropped["service_tier"] = None
    reasoning = body.get("reasoning")
    if isinstance(reasoning, dict) and reasoning.get("effort") == "minimal":
        body["reasoning"] = reasoning | {"effort": "low"}
    tools = body.get("tools")
    if isinstance(tools, list) and any(_is_preview(tool) for tool in tools):
        body["tools"] = [tool | {"type": "web_search"} if _is_preview(tool) else tool for tool in tools]


def _is_preview(tool: Any) -> bool:
    return isinstance(tool, dict) and str(tool.get("type")).startswith("web_search_preview")
