"""A native Responses request for the ChatGPT backend: as it came, but for what that backend
refuses.

What the Codex program itself sends goes out unchanged, fields nobody here knows included.
"""

from __future__ import annotations

from typing import Any

from shared.formats import fields
from shared.formats.envelope import PREFIX
from shared.formats.ir import Json
from shared.formats.responses.request_in import ENCRYPTED_REASONING, FIELDS, input_items
from shared.formats.responses.request_out import DEFAULT_INSTRUCTIONS
from shared.formats.responses.target import CODEX, Dialect
from shared.formats.schemas import for_openai
from shared.formats.strict_schemas import qualifies_for_openai
from shared.formats.written import Written

REFUSED_THERE = frozenset(
    {
        "access_programs", "background_options", "context_management", "frequency_penalty",
        "max_completion_tokens", "max_output_tokens", "max_tool_calls", "image", "metadata",
        "moderation", "presence_penalty", "prompt_cache_options", "prompt_cache_retention",
        "safety_identifier", "seed", "stream_options", "temperature", "top_logprobs", "top_p",
        "truncation", "user",
    }
)  # fmt: skip
"""What the ChatGPT backend answers with 400 "Unsupported parameter"."""

COSTLY_TIERS = frozenset({"fast", "priority"})
"""What the public interface charges more for than the list price."""

UNKNOWN_REASONING = ("generate_summary", "mode")
"""What the public interface takes in `reasoning`, and the backend does not know."""

NULLABLE_THERE = frozenset(
    {
        "client_metadata",
        "include",
        "instructions",
        "prompt_cache_key",
        "reasoning",
        "service_tier",
        "text",
        "tools",
    }
)
"""Fields the ChatGPT backend takes as null, as Codex sends some of them; null anywhere else is
left out."""

_STATE = "it needs a stored conversation, and the ChatGPT backend stores none"
_ID_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "reasoning": "rs",
}
BREAKPOINT = "prompt_cache_breakpoint"


def prepare(body: Json, dialect: Dialect = CODEX) -> Written:
    """Return `body` as the service accepts it, and the losses. An acceptable body is returned as
    the same object.

    Raises ClientError for a request that the service cannot do at all.
    """
    if not dialect.codex:
        return _for_public(body)
    if body.get("background"):
        raise fields.field_error(
            "background", "the ChatGPT backend replies only while its caller waits"
        )
    for name in ("previous_response_id", "conversation"):
        if body.get(name) is not None:
            raise fields.field_error(name, _STATE)
    if body.get("prompt") is not None:
        raise fields.field_error("prompt", "prompt templates are kept by OpenAI's public interface")
    dropped: dict[str, None] = {
        name: None for name in body if name in REFUSED_THERE and not _is_default(body, name)
    }
    if body.get("store"):
        dropped["store"] = None
    prepared = {name: value for name, value in body.items() if _is_for_backend(name, value)}
    prepared |= {"input": _input(body, dropped), "stream": True, "store": False}
    include = fields.Object(body).optional("include", list) or []
    if ENCRYPTED_REASONING not in include:
        prepared["include"] = [*include, ENCRYPTED_REASONING]
    # After the input was prepared: whether instructions are needed depends on the roles as they are
    # sent.
    prepared |= _instructions(prepared, dialect)
    _fit(prepared, dropped)
    # An unchanged body is returned as the object that came, so that its bytes can go out as they
    # are.
    return Written(body if prepared == body else prepared, tuple(dropped))


def _for_public(body: Json) -> Written:
    """Return `body` for the public interface, which refuses only reasoning sealed by another
    vendor.
    """
    items = body.get("input")
    if not isinstance(items, list):
        return Written(body, ())
    kept = [item for item in items if not (isinstance(item, dict) and _is_foreign_reasoning(item))]
    return (
        Written(body, ())
        if len(kept) == len(items)
        else Written(body | {"input": kept}, ("input[].reasoning",))
    )


def prepare_for_key(body: Json) -> Written:
    """Return `body`, prepared for the backend, for the public interface with an API key in the
    login's place, and the losses.

    Each account seals its reasoning for itself: neither opens the other's. Sealed reasoning is
    therefore left out, and none is asked for, so that the login can continue the conversation once
    it pays again. Tiers that cost more than the standard one are left out.
    """
    lost = []
    items = body["input"]
    kept = [item for item in items if item.get("type") != "reasoning"]
    if len(kept) != len(items):
        lost.append("input[].reasoning")
    include = [name for name in body.get("include") or [] if name != ENCRYPTED_REASONING]
    written = body | {"input": kept, "include": include, "stream": True, "store": False}
    if written.get("service_tier") in COSTLY_TIERS:
        del written["service_tier"]
        lost.append("service_tier")
    return Written(written, tuple(lost))


def _is_foreign_reasoning(item: Json) -> bool:
    return item.get("type") == "reasoning" and str(item.get("encrypted_content")).startswith(PREFIX)


def _is_default(body: Json, name: str) -> bool:
    """Return True if the field and the field's absence mean the same."""
    value = body[name]
    return value is None or (name in FIELDS and value in FIELDS[name].defaults)


def _is_for_backend(name: str, value: Any) -> bool:
    if name in REFUSED_THERE or name in ("messages", "background"):
        return False
    return value is not None or name in NULLABLE_THERE


def _input(body: Json, dropped: dict[str, None]) -> list[Json]:
    items = (_item(item, dropped) for item in input_items(body))
    return [item for item in items if item is not None]


def _item(asked: fields.Object, dropped: dict[str, None]) -> Json | None:
    """Return the item as the backend takes it: the same object if unchanged, None if no content is
    left.
    """
    item = asked.value
    kind = asked.get("type") or "message"
    if kind == "item_reference":
        raise fields.field_error(asked.path, _STATE)
    if kind == "reasoning":
        sealed = asked.optional("encrypted_content", str) or ""
        # An id alone points at nothing; another vendor's seal is noise
        if not sealed or sealed.startswith(PREFIX):
            dropped["input[].reasoning"] = None
            return None
    changed: Json = {}
    if item.get("role") == "system":
        changed["role"] = "developer"
    content = item.get("content")
    if isinstance(content, list) and any(
        BREAKPOINT in part for part in content if isinstance(part, dict)
    ):
        dropped[f"input[].content[].{BREAKPOINT}"] = None
        changed["content"] = [_without(part, BREAKPOINT) for part in content]
    # An id of another maker: the backend takes only its own pattern, and needs none.
    if item.get("id") and not str(item["id"]).startswith(_ID_PREFIXES.get(str(kind), "")):
        item = _without(item, "id")
    return item | changed if changed else item


def _without(shape: Any, name: str) -> Any:
    return (
        {key: value for key, value in shape.items() if key != name}
        if isinstance(shape, dict)
        else shape
    )


def _instructions(body: Json, dialect: Dialect) -> Json:
    """The operator's words beside the client's; some must be there, and a developer message up
    front counts as such.
    """
    items = body["input"]
    client = fields.Object(body).optional("instructions", str) or ""
    instructions, moved = dialect.instruct(client)
    if moved:
        items = [
            {
                "type": "message",
                "role": "developer",
                "content": [{"type": "input_text", "text": moved}],
            },
            *items,
        ]
    spoken = next((item["role"] for item in items if item.get("role")), "")
    if not instructions and spoken not in ("system", "developer"):
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
    if isinstance(reasoning, dict):
        body["reasoning"] = _reasoning(reasoning, dropped)
    if isinstance(body.get("tools"), list):
        body["tools"] = [_tool(tool, "tools[]", dropped) for tool in body["tools"]]
    form = (body.get("text") or {}).get("format") if isinstance(body.get("text"), dict) else None
    if isinstance(form, dict) and isinstance(form.get("schema"), dict):
        repaired = for_openai(form["schema"], is_tool=False)
        dropped.update({f"text.format.schema.{path}": None for path in repaired.lost})
        if repaired.schema is not form["schema"]:
            body["text"] = body["text"] | {"format": form | {"schema": repaired.schema}}


def _reasoning(reasoning: Json, dropped: dict[str, None]) -> Json:
    """Return the reasoning as accepted by the backend; the same object if nothing had to change."""
    changed: Json = {}
    if reasoning.get("effort") == "minimal":
        changed["effort"] = "low"
    if reasoning.get("generate_summary") and not reasoning.get("summary"):
        changed["summary"] = reasoning["generate_summary"]
    unknown = [name for name in UNKNOWN_REASONING if name in reasoning]
    for name in unknown:
        if reasoning[name] is not None and not (
            name == "generate_summary" and "summary" in changed
        ):
            dropped[f"reasoning.{name}"] = None
    if not changed and not unknown:
        return reasoning
    return {name: value for name, value in (reasoning | changed).items() if name not in unknown}


def _tool(tool: Any, path: str, dropped: dict[str, None]) -> Any:
    """Return the tool as accepted by the backend; the same object if unchanged.

    OpenAI's public interface treats a function that says nothing of `strict` as strict only where
    its schema can be. The backend takes it for strict always, so `strict` has to be sent.
    """
    if not isinstance(tool, dict):
        return tool
    if str(tool.get("type")).startswith("web_search_preview"):
        return tool | {"type": "web_search"}
    if isinstance(tool.get("tools"), list):
        inner = [_tool(each, f"{path}.tools[]", dropped) for each in tool["tools"]]
        return tool if inner == tool["tools"] else tool | {"tools": inner}
    if tool.get("type") != "function" or not isinstance(tool.get("parameters"), dict):
        return tool
    repaired = for_openai(tool["parameters"])
    dropped.update({f"{path}.parameters.{lost}": None for lost in repaired.lost})
    if repaired.schema is not tool["parameters"]:
        tool = tool | {"parameters": repaired.schema}
    if "strict" not in tool and not qualifies_for_openai(repaired.schema):
        tool = tool | {"strict": False}
    return tool
