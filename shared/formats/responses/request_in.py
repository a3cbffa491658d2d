"""A Responses request as a Prompt. `FIELDS` says what becomes of each field.

This module reads the request around the conversation, and its tools and settings; `conversation`
reads the items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from shared.formats import fields, ir
from shared.formats.efforts import EFFORTS
from shared.formats.fields import FieldPolicy, Object
from shared.formats.ir import Json
from shared.formats.openai_parts import LEVELS, read_function, read_schema
from shared.formats.responses.conversation import ResponsesConversation
from shared.formats.responses.local_shell import LOCAL_SHELL
from shared.formats.responses.unread import unread_of_items

FIELDS: dict[str, FieldPolicy] = {
    "model": FieldPolicy("carried"),
    "input": FieldPolicy("carried", "also spelled `messages`"),
    "messages": FieldPolicy("carried", "when there is no `input`"),
    "instructions": FieldPolicy("carried"),
    "tools": FieldPolicy(
        "carried", "`function`, `custom`, `namespace`, `local_shell` and `web_search`"
    ),
    "tool_choice": FieldPolicy("carried", "not for tools OpenAI runs"),
    "parallel_tool_calls": FieldPolicy("carried"),
    "reasoning": FieldPolicy("carried", "`effort` and `summary`"),
    "text": FieldPolicy("carried"),
    "include": FieldPolicy(
        "carried",
        "encrypted reasoning and the sources of web searches always come, nothing else does",
    ),
    "stream": FieldPolicy("carried"),
    "max_output_tokens": FieldPolicy("carried"),
    "temperature": FieldPolicy("carried"),
    "top_p": FieldPolicy("carried"),
    "metadata": FieldPolicy("carried"),
    "prompt_cache_key": FieldPolicy("carried", "Claude caches by content and needs no key"),
    "service_tier": FieldPolicy("carried"),
    "safety_identifier": FieldPolicy("carried"),
    "user": FieldPolicy("carried", "dropped when `safety_identifier` says something else"),
    "stream_options": FieldPolicy("ignored", "there is no obfuscation to switch off"),
    "access_programs": FieldPolicy("dropped", defaults=({"cyber": "standard"},)),
    "client_metadata": FieldPolicy("dropped"),
    "context_management": FieldPolicy("dropped"),
    "image": FieldPolicy("dropped"),
    "max_tool_calls": FieldPolicy("dropped"),
    "moderation": FieldPolicy("dropped"),
    "prompt_cache_options": FieldPolicy("dropped", defaults=({}, {"mode": "implicit"})),
    "prompt_cache_retention": FieldPolicy("dropped", defaults=("in_memory",)),
    "store": FieldPolicy("ignored", "the gateway stores the response, unless this is false"),
    "truncation": FieldPolicy("dropped", defaults=("disabled",)),
    "background": FieldPolicy(
        "refused", "a reply is sent while its caller waits", defaults=(False,)
    ),
    "background_options": FieldPolicy("refused", "a reply is sent while its caller waits"),
    "conversation": FieldPolicy("ignored", "the gateway puts the stored items before the input"),
    "previous_response_id": FieldPolicy(
        "ignored", "the gateway puts the stored items before the input"
    ),
    "prompt": FieldPolicy("refused", "prompt templates are kept by OpenAI"),
    "top_logprobs": FieldPolicy(
        "refused", "the providers do not return log probabilities", defaults=(0,)
    ),
}

SPELLING = {
    "web_search": "tools[].web_search",
    "parallel_tools": "parallel_tool_calls",
    "messages": "input[]",
    "tools": "tools[]",
    "phase": "input[].phase",
    "detail": "input[].content[].detail",
    "summary": "reasoning.summary",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "reasoning": "input[].reasoning",
    "verbosity": "text.verbosity",
    "response_format": "text.format",
    "response_format.schema": "text.format.schema",
    "cache_control": "prompt_cache_breakpoint",
    "tools.schema": "tools[].parameters",
    "tools.strict": "tools[].strict",
    "tools.format": "tools[].format",
    "search_context_size": "tools[].search_context_size",
}
"""How this format spells what the writers name otherwise."""
_TOOL = (
    "type name description parameters strict format tools filters user_location search_context_size"
)
KNOWN = {
    path: frozenset(names.split())
    for path, names in {
        "": "tools reasoning text",
        "tools[]": _TOOL,
        "tools[].tools[]": _TOOL,
        "tools[].format": "type syntax definition",
        "tools[].filters": "allowed_domains",
        "reasoning": "effort summary generate_summary",
        "text": "format verbosity",
        "text.format": "type name description schema strict",
    }.items()
}
"""What is read of the objects inside a request. Anything else in them is dropped by name."""

ENCRYPTED_REASONING = "reasoning.encrypted_content"
SEARCH_SOURCES = "web_search_call.action.sources"


def read_prompt(body: Json) -> ir.Prompt:
    """Return the Responses request `body` as a prompt. Raises ClientError naming the first refused
    field.

    A field unknown here is dropped, not refused: Codex gains one with most of its versions.
    """
    asked = Object(body)
    dropped = fields.apply_policies(
        {name: value for name, value in body.items() if name in FIELDS}, FIELDS
    )
    dropped += [name for name, value in body.items() if value is not None and name not in FIELDS]
    dropped += dict.fromkeys(
        fields.unknown_fields({name: body.get(name) for name in KNOWN[""]}, "", KNOWN)
    )
    conversation = ResponsesConversation()
    if instructions := asked.optional("instructions", str):
        conversation.system.append(ir.Text(instructions))
    tools = list(_tools(body.get("tools") or [], "tools"))
    for item in input_items(body):
        if item.get("type") == "additional_tools":
            tools += _tools(item.get("tools") or [], item.at("tools"))
            dropped += fields.unknown_fields({"tools": item.get("tools")}, "", KNOWN)
        else:
            conversation.read(item)
    dropped += dict.fromkeys(unread_of_items(input_items(body)))
    user = asked.optional("user", str)
    identifier = asked.optional("safety_identifier", str)
    if user and identifier and user != identifier:
        dropped.append("user")
    if asked.inner("reasoning").get("summary") and asked.inner("reasoning").get("generate_summary"):
        dropped.append("reasoning.generate_summary")
    text = asked.inner("text")
    return ir.Prompt(
        model=asked.text("model"),
        messages=conversation.messages(),
        system=tuple(conversation.system),
        tools=tuple(tools),
        tool_choice=_tool_choice(body.get("tool_choice"), dropped),
        parallel_tools=asked.optional("parallel_tool_calls", bool),
        max_tokens=asked.count("max_output_tokens"),
        temperature=asked.number("temperature", 0, 2),
        top_p=asked.number("top_p", 0, 1),
        reasoning=_reasoning(asked.inner("reasoning")),
        response_format=_response_format(text.inner("format")),
        verbosity=text.choice("verbosity", LEVELS),
        service_tier=asked.optional("service_tier", str),
        cache_key=asked.optional("prompt_cache_key", str),
        user=identifier or user,
        metadata=asked.optional("metadata", dict),
        stream=asked.optional("stream", bool) or False,
        include_usage=True,
        spelling=SPELLING
        | {"user": "safety_identifier" if body.get("safety_identifier") else "user"},
        dropped=(*dict.fromkeys(dropped), *_include(asked.optional("include", list) or [])),
    )


def input_items(body: Json) -> list[Object]:
    """Return the items of the input: a bare string is a user message; `messages` is an older
    clients' spelling of `input`.
    """
    name = "messages" if body.get("input") is None and "messages" in body else "input"
    content = body.get(name)
    if content is None:
        raise fields.missing("input")
    if isinstance(content, str):
        return [Object({"type": "message", "role": "user", "content": content}, "input")]
    return fields.objects(content, name)


def _tools(
    tools: Any, path: str, namespace: str = ""
) -> Iterator[ir.Tool | ir.WebSearch | ir.Opaque]:
    for tool in fields.objects(tools, path):
        match tool.text("type"):
            case "function":
                yield read_function(tool, namespace=namespace)
            case "custom":
                yield _custom_tool(tool, namespace)
            # Described here, because only OpenAI's models see a namespace; the name stays with each
            # tool.
            case "namespace":
                about = tool.optional("description", str)
                for inner in _tools(tool.get("tools"), tool.at("tools"), tool.text("name")):
                    yield _described(inner, about) if about else inner
            case "local_shell":
                yield LOCAL_SHELL
            case kind if kind.startswith("web_search"):
                yield _web_search(tool)
            case _:
                yield ir.Opaque("openai", tool.value)


def _described(
    tool: ir.Tool | ir.WebSearch | ir.Opaque, about: str
) -> ir.Tool | ir.WebSearch | ir.Opaque:
    """Return a tool with the description of the tool's namespace: other vendors have no
    namespaces.
    """
    if isinstance(tool, ir.Tool):
        return replace(
            tool, description=f"{about}\n\n{tool.description}" if tool.description else about
        )
    return tool


def _custom_tool(tool: Object, namespace: str) -> ir.Tool:
    form = tool.inner("format")
    grammar = (
        {name: form.text(name) for name in ("syntax", "definition")}
        if form.get("type") == "grammar"
        else None
    )
    return ir.Tool(
        tool.text("name"),
        tool.optional("description", str),
        kind="custom",
        grammar=grammar,
        namespace=namespace,
    )


def _web_search(tool: Object) -> ir.WebSearch:
    filters = tool.inner("filters")
    location = tool.inner("user_location").value
    domains = filters.get("allowed_domains") or []
    return ir.WebSearch(
        fields.texts(domains, filters.at("allowed_domains")),
        location={name: value for name, value in location.items() if name != "type" and value}
        or None,
        context_size=tool.optional("search_context_size", str),
    )


def _tool_choice(choice: Any, dropped: list[str]) -> ir.ToolChoice | None:
    match choice:
        case None:
            return None
        case "auto" | "none" | "required":
            return ir.ToolChoice(choice)
        case {"type": "function" | "custom", "name": str(name)}:
            return ir.ToolChoice("named", name)
        case {"type": "allowed_tools", "mode": "auto" | "required" as mode, "tools": [*tools]}:
            names = (
                tool.get("name") or tool.text("type")
                for tool in fields.objects(tools, "tool_choice.tools")
            )
            return ir.ToolChoice(mode, allowed=tuple(names))
        case {"type": str(kind)} if kind.startswith(ir.WEB_SEARCH):
            return ir.ToolChoice("named", ir.WEB_SEARCH)
        case {"type": str()}:
            dropped.append("tool_choice")
            return None
    raise fields.invalid(
        choice, "tool_choice", "Expected auto, none, required, a tool's name or allowed_tools."
    )


def _reasoning(reasoning: Object) -> ir.Reasoning:
    summary = "summary" if reasoning.get("summary") is not None else "generate_summary"
    return ir.Reasoning(
        reasoning.choice("effort", EFFORTS),
        summary=reasoning.choice(summary, ("auto", "concise", "detailed", "none")),
    )


def _response_format(form: Object) -> ir.ResponseFormat | None:
    match form.one_of("type", ("text", "json_object", "json_schema")) if form.value else "text":
        case "json_object":
            return ir.ResponseFormat()
        case "json_schema":
            schema = form.required("schema", dict)
            return read_schema(form, form.optional("name", str) or "", schema)
    return None


def _include(wanted: list[Any]) -> list[str]:
    if "message.output_text.logprobs" in wanted:
        raise fields.field_error("include", "no provider reached by translation has logprobs")
    return [
        f"include.{name}" for name in wanted if name not in (ENCRYPTED_REASONING, SEARCH_SOURCES)
    ]
