"""A Messages request as a Prompt. Blocks only Anthropic understands stay whole, as `Opaque`.

`FIELDS` says what becomes of each field; one nobody knows yet is dropped by name, as betas come and
go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, cast

from shared.formats import ir
from shared.formats.envelope import unwrap
from shared.formats.fields import (
    FieldPolicy,
    Object,
    apply_policies,
    invalid,
    objects,
    texts,
    unbroken,
    unknown_fields,
)
from shared.formats.ir import Json
from shared.formats.json_text import dump_text
from shared.formats.messages.unread import unread_of_blocks, unread_of_messages, unread_of_tools
from shared.runtime.errors import ThreadNotFound

ATTRIBUTION = "x-anthropic-billing-header"
"""How Claude Code's first system block begins; it is addressed to Anthropic's servers, not to a
model."""

FIELDS: dict[str, FieldPolicy] = {
    **dict.fromkeys(
        ("model", "messages", "system", "max_tokens", "tools", "tool_choice"),
        FieldPolicy("carried"),
    ),
    **dict.fromkeys(
        ("temperature", "top_p", "top_k", "stop_sequences", "stream", "thinking"),
        FieldPolicy("carried"),
    ),
    **dict.fromkeys(
        ("output_config", "output_format", "metadata", "service_tier"), FieldPolicy("carried")
    ),
    "cache_control": FieldPolicy("carried", "OpenAI caches without marks"),
    "diagnostics": FieldPolicy("ignored"),
    "speed": FieldPolicy("dropped", defaults=("standard",)),
    **dict.fromkeys(
        ("container", "context_management", "inference_geo", "mcp_servers", "fallbacks"),
        FieldPolicy("dropped"),
    ),
    **dict.fromkeys(("billing_policy", "fallback_credit_token"), FieldPolicy("dropped")),
    "compaction": FieldPolicy("refused", "what Anthropic compacts, only Anthropic can read"),
    "thread": FieldPolicy(
        "dropped", "begun but not kept: continuing it is answered 404 `thread_not_found`"
    ),
}
SPELLING = {
    "messages": "messages[].content[]",
    "tools": "tools[]",
    "budget": "thinking.budget_tokens",
    "messages.context": "messages[].content[].context",
    "stop": "stop_sequences",
    "user": "metadata.user_id",
    "reasoning": "messages[].content[].thinking",
    "response_format": "output_config.format",
    "response_format.schema": "output_config.format.schema",
    "tools.schema": "tools[].input_schema",
    "tools.strict": "tools[].strict",
    "max_uses": "tools[].max_uses",
    "blocked_domains": "tools[].blocked_domains",
    "messages.citations": "messages[].content[].citations",
}
"""How this format spells what the writers name otherwise."""
_KNOWN = {
    "": frozenset(FIELDS),
    "metadata": frozenset({"user_id"}),
    "output_config": frozenset({"effort", "format"}),
    "thinking": frozenset({"type", "budget_tokens", "display"}),
}


def read_prompt(body: Json) -> ir.Prompt:
    """Raises ClientError naming the first field that cannot be read, ThreadNotFound for a part of a
    conversation.
    """
    refuse_part(body)
    asked = Object(body)
    output = asked.inner("output_config")
    choice = asked.inner("tool_choice").value
    metadata = asked.inner("metadata")
    return ir.Prompt(
        model=asked.text("model"),
        messages=tuple(
            _message(message) for message in objects(asked.required("messages", list), "messages")
        ),
        system=_system(body.get("system")),
        tools=tuple(_tool(tool) for tool in objects(body.get("tools") or [], "tools")),
        tool_choice=_tool_choice(choice),
        parallel_tools=False if choice.get("disable_parallel_tool_use") else None,
        max_tokens=asked.optional("max_tokens", int),
        temperature=asked.number("temperature", 0, 1),
        top_p=asked.number("top_p", 0, 1),
        top_k=asked.optional("top_k", int),
        stop=texts(body.get("stop_sequences") or [], "stop_sequences"),
        reasoning=_reasoning(asked.inner("thinking"), output.optional("effort", str)),
        response_format=_response_format(output.get("format") or body.get("output_format")),
        service_tier=asked.optional("service_tier", str),
        cache=_cache(body),
        user=metadata.optional("user_id", str),
        stream=bool(body.get("stream")),
        include_usage=True,
        spelling=SPELLING
        | {"reasoning_effort": "output_config.effort" if output.get("effort") else "thinking"},
        dropped=(
            *apply_policies(
                {name: value for name, value in body.items() if name in FIELDS}, FIELDS
            ),
            *unknown_fields(body, "", _KNOWN),
            *dict.fromkeys(unread_of_blocks(body.get("system"), "system")),
            *dict.fromkeys(unread_of_messages(body["messages"])),
            *unread_of_tools(body.get("tools") or []),
        ),
    )


def refuse_part(body: Json) -> None:
    """Refuse a request for the continuation of state on Anthropic's servers: without the state the
    answer would be wrong.
    """
    thread = body.get("thread")
    if isinstance(thread, dict) and thread.get("type") == "continue":
        raise ThreadNotFound


def _blocks(content: Any, path: str) -> list[Object]:
    """A string or a list of blocks, as blocks."""
    return (
        [Object({"type": "text", "text": content}, path)]
        if isinstance(content, str)
        else objects(content, path)
    )


def _cache(block: Json) -> str | None:
    control = block.get("cache_control")
    return str(control.get("ttl") or "5m") if isinstance(control, dict) else None


def _system(content: Any) -> tuple[ir.Text, ...]:
    texts = [_text(block) for block in _blocks(content or [], "system")]
    return tuple(text for text in texts if not text.text.startswith(ATTRIBUTION))


def _message(message: Object) -> ir.Message:
    role = message.one_of("role", ("user", "assistant", "system"))
    return ir.Message(
        cast("ir.Role", role), tuple(_parts(message.get("content"), message.at("content")))
    )


def _parts(content: Any, path: str) -> Iterable[ir.Part]:
    for block in _blocks(content, path):
        read = _PARTS.get(block.text("type"))
        yield read(block) if read else ir.Opaque("anthropic", block.value)


def _text(block: Object) -> ir.Text:
    citations = tuple(read_citation(citation.value) for citation in block.objects("citations"))
    return ir.Text(block.optional("text", str) or "", citations, _cache(block.value))


def read_citation(data: Json) -> ir.Citation:
    url = data.get("url") or data.get("source") or ""
    return ir.Citation(
        url, data.get("title") or data.get("document_title") or "", vendor="anthropic", data=data
    )


def _image(block: Object) -> ir.Part:
    cache = _cache(block.value)
    match block.required("source", dict):
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            return ir.Image(media_type, unbroken(data), cache=cache)
        case {"type": "url", "url": str(url)}:
            return ir.Image(url=url, cache=cache)
        case {"type": "file", "file_id": str(file_id)}:
            return ir.Image(file_id=file_id, cache=cache)
    return ir.Opaque("anthropic", block.value)


def _document(block: Object) -> ir.Part:
    document = ir.Document(
        name=block.optional("title", str) or "",
        context=block.optional("context", str) or "",
        citations=bool(block.inner("citations").get("enabled")),
        cache=_cache(block.value),
    )
    match block.required("source", dict):
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            return replace(document, media_type=media_type, data=unbroken(data))
        case {"type": "text", "data": str(text)}:
            return replace(document, media_type="text/plain", text=text)
        case {"type": "content", "content": str(text)}:
            return replace(document, media_type="text/plain", text=text)
        case {"type": "content", "content": [*blocks]} if all(_is_text(inner) for inner in blocks):
            return replace(
                document, media_type="text/plain", text="\n".join(inner["text"] for inner in blocks)
            )
        case {"type": "url", "url": str(url)}:
            return replace(document, url=url)
        case {"type": "file", "file_id": str(file_id)}:
            return replace(document, file_id=file_id)
    return ir.Opaque("anthropic", block.value)


def _is_text(block: Any) -> bool:
    return (
        isinstance(block, dict)
        and block.get("type") == "text"
        and isinstance(block.get("text"), str)
    )


def _search_result(block: Object) -> ir.Part:
    """Return a search result as text for every model: the source's name and address, then the
    content found there.
    """
    inners = objects(block.required("content", list), block.at("content"))
    found = "\n".join(inner.text("text") for inner in inners)
    return ir.Text(
        f"{block.text('title')}\n{block.text('source')}\n\n{found}", cache=_cache(block.value)
    )


def _tool_use(block: Object) -> ir.Part:
    arguments = write_arguments(block.get("input"))
    return ir.ToolCall(block.text("id"), block.text("name"), arguments, cache=_cache(block.value))


def _tool_result(block: Object) -> ir.Part:
    parts = _parts(block.get("content") or [], block.at("content"))
    return ir.ToolResult(
        block.text("tool_use_id"),
        tuple(
            part for part in parts if isinstance(part, (ir.Text, ir.Image, ir.Document, ir.Opaque))
        ),
        is_error=bool(block.get("is_error")),
        cache=_cache(block.value),
    )


def read_thinking(text: str, signature: str) -> ir.Thinking:
    """Return a thinking block, or the wrapped reasoning of another vendor as the original
    reasoning.
    """
    foreign = unwrap(signature)
    if foreign is not None:
        return replace(foreign, text=foreign.text or text)
    return ir.Thinking(text, signature, "anthropic" if signature else None)


def read_redacted(data: str) -> ir.Thinking:
    return ir.Thinking(signature=data, vendor="anthropic", redacted=True)


def write_arguments(arguments: Any) -> str:
    """Return a tool call's input as the JSON text of the other formats; an empty text for an empty
    input.
    """
    return dump_text(arguments) if arguments else ""


_PARTS: dict[str, Callable[[Object], ir.Part]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "thinking": lambda block: read_thinking(
        block.text("thinking"), block.optional("signature", str) or ""
    ),
    "redacted_thinking": lambda block: read_redacted(block.text("data")),
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}


def _tool(tool: Object) -> ir.Tool | ir.WebSearch | ir.Opaque:
    kind = str(tool.get("type") or "custom")
    if kind.startswith("web_search_"):
        return ir.WebSearch(
            texts(tool.get("allowed_domains") or [], tool.at("allowed_domains")),
            texts(tool.get("blocked_domains") or [], tool.at("blocked_domains")),
            tool.optional("max_uses", int),
            {k: v for k, v in tool.inner("user_location").value.items() if k != "type"} or None,
        )
    if kind != "custom":
        return ir.Opaque("anthropic", tool.value)
    return ir.Tool(
        tool.text("name"),
        tool.optional("description", str),
        tool.optional("input_schema", dict),
        tool.optional("strict", bool),
        cache=_cache(tool.value),
    )


def _tool_choice(choice: Json) -> ir.ToolChoice | None:
    match choice:
        case {"type": "auto" | "none" as mode}:
            return ir.ToolChoice(mode)
        case {"type": "any"}:
            return ir.ToolChoice("required")
        case {"type": "tool", "name": str(name)}:
            return ir.ToolChoice("named", name)
        case {"type": _}:
            raise invalid(choice, "tool_choice", "Expected auto, any, none or a named tool.")
    return None


def _reasoning(thinking: Object, effort: str | None) -> ir.Reasoning:
    match thinking.get("type"):
        case None:
            return ir.Reasoning(effort)
        case "adaptive" | "enabled" | "disabled" | "between_tools" as mode:
            budget = thinking.optional("budget_tokens", int)
            display = thinking.optional("display", str)
            return ir.Reasoning(effort, budget, mode, display)
    raise invalid(
        thinking.value,
        "thinking.type",
        "Supported values are: adaptive, enabled, disabled, between_tools.",
    )


def _response_format(form: Any) -> ir.ResponseFormat | None:
    match form:
        case {"type": "json_schema", "schema": dict(schema)}:
            return ir.ResponseFormat(schema)
        case None:
            return None
    raise invalid(form, "output_config.format", "Expected {type: json_schema, schema}.")
