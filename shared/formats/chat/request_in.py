"""A Chat Completions request as a Prompt: `FIELDS` says what becomes of every field of it, `KNOWN`
what is read inside.

Unknown fields are refused as OpenAI does; inside objects they are dropped by name, for clients
replay in messages what other gateways put there.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from shared.formats import ir
from shared.formats.chat.conversation import ChatConversation
from shared.formats.efforts import EFFORTS
from shared.formats.fields import (
    FieldPolicy,
    Object,
    apply_policies,
    expect,
    field_error,
    invalid,
    missing,
    objects,
    one_of,
    texts,
    unknown_fields,
    wrong_type,
)
from shared.formats.generated_images import IMAGE_TOOL
from shared.formats.ir import Json
from shared.formats.openai_parts import LEVELS, read_cache_mark, read_function, read_schema
from shared.runtime.errors import ClientError

_CARRIED = (
    "messages model stream tool_choice parallel_tool_calls max_completion_tokens "
    "max_tokens temperature top_p stop reasoning_effort verbosity response_format service_tier "
    "metadata safety_identifier"
)
FIELDS = {
    **dict.fromkeys(_CARRIED.split(), FieldPolicy("carried")),
    "prompt_cache_key": FieldPolicy("carried", "Claude caches by content and needs no key"),
    "stream_options": FieldPolicy("carried", "`include_usage`; obfuscation is not added"),
    "tools": FieldPolicy("carried", "`function` and `custom`"),
    "functions": FieldPolicy("refused", "send 'tools', which replaced 'functions'", defaults=([],)),
    "function_call": FieldPolicy(
        "refused", "send 'tool_choice', which replaced 'function_call'", defaults=("auto", "none")
    ),
    "web_search_options": FieldPolicy("carried", "the provider's own web search"),
    "user": FieldPolicy("carried", "dropped when `safety_identifier` says something else"),
    "prompt_cache_options": FieldPolicy(
        "dropped", defaults=({"mode": "implicit"}, {"mode": "implicit", "ttl": "30m"})
    ),
    "prompt_cache_retention": FieldPolicy("dropped", defaults=("in_memory",)),
    "seed": FieldPolicy("dropped"),
    "frequency_penalty": FieldPolicy("dropped", defaults=(0,)),
    "presence_penalty": FieldPolicy("dropped", defaults=(0,)),
    "logit_bias": FieldPolicy("dropped", defaults=({},)),
    "store": FieldPolicy("dropped", "nothing is stored", defaults=(False,)),
    "n": FieldPolicy("refused", "only one choice can be generated", defaults=(1,)),
    "logprobs": FieldPolicy(
        "refused", "the providers do not return log probabilities", defaults=(False,)
    ),
    "top_logprobs": FieldPolicy(
        "refused", "the providers do not return log probabilities", defaults=(0,)
    ),
    "prediction": FieldPolicy("refused", "the providers do not take predicted output"),
    "modalities": FieldPolicy(
        "carried",
        "`image` lets the model make images, where the provider can",
        defaults=(["text"],),
    ),
    "audio": FieldPolicy("refused", "only text can be generated"),
    "moderation": FieldPolicy("refused", "nothing here moderates"),
}

SPELLING = {
    "parallel_tools": "parallel_tool_calls",
    "detail": "messages[].content[].image_url.detail",
    "response_format.strict": "response_format.json_schema.strict",
    "reasoning": "messages[].reasoning_content",
    "cache_control": "prompt_cache_breakpoint",
    "response_format.schema": "response_format.json_schema.schema",
    "tools.schema": "tools[].function.parameters",
    "tools.strict": "tools[].function.strict",
    "tools.format": "tools[].custom.format",
    "tools.image_generation": "modalities",
    "messages.image_generation_call": "messages[].images",
    "search_context_size": "web_search_options.search_context_size",
}
"""How this format spells what the writers name otherwise."""
TIERS = ("auto", "default", "flex", "scale", "priority", "fast")

KNOWN = {
    path: frozenset(names.split())
    for path, names in {
        "": "messages tools response_format stream_options web_search_options",
        "messages[]": "role content name tool_call_id tool_calls refusal "
        "reasoning_content audio images",
        "messages[].content[]": "type text image_url file refusal prompt_cache_breakpoint "
        "cache_control",
        "messages[].content[].image_url": "url detail",
        "messages[].content[].file": "file_data file_id filename",
        "messages[].tool_calls[]": "id index type function custom",
        "messages[].tool_calls[].function": "name arguments",
        "messages[].tool_calls[].custom": "name input",
        "tools[]": "type function custom cache_control prompt_cache_breakpoint",
        "tools[].function": "name description parameters strict",
        "tools[].custom": "name description format",
        "response_format": "type json_schema",
        "response_format.json_schema": "name description schema strict",
        "stream_options": "include_usage include_obfuscation",
        "web_search_options": "search_context_size user_location",
    }.items()
}
"""What is read of the objects inside a request. Anything else in them is dropped by name."""


def read_prompt(body: Json) -> ir.Prompt:
    """Return the Chat Completions request `body` as a prompt. Raises ClientError naming the refused
    field.
    """
    dropped = [
        *apply_policies(body, FIELDS),
        *unknown_fields({name: body[name] for name in KNOWN[""] & body.keys()}, "", KNOWN),
    ]
    asked = Object(body)
    model = asked.text("model")
    conversation = ChatConversation()
    for message in objects(asked.required("messages", list), "messages"):
        conversation.read(message)
    conversation.end()
    if not body["messages"]:
        raise invalid([], "messages", "Expected at least one message.")
    if not conversation.messages and not conversation.system:
        raise ClientError(
            "Invalid value for 'messages': nothing is said in them.", param="messages"
        )
    user = asked.optional("user", str)
    identifier = asked.optional("safety_identifier", str)
    if user and identifier and user != identifier:
        dropped.append("user")
    tools = _read_tools(asked)
    names = {tool.name for tool in tools if isinstance(tool, ir.Tool)}
    parallel = asked.optional("parallel_tool_calls", bool)
    stream_options = asked.inner("stream_options")
    return ir.Prompt(
        model=model,
        messages=tuple(conversation.messages),
        system=tuple(conversation.system),
        tools=tools,
        tool_choice=_read_choice(body.get("tool_choice"), names),
        parallel_tools=parallel if tools else None,
        max_tokens=_read_max_tokens(asked),
        temperature=_unless(asked.number("temperature", 0, 2), 1),
        top_p=_unless(asked.number("top_p", 0, 1), 1),
        stop=_read_stop(body.get("stop")),
        reasoning=_read_reasoning(asked.choice("reasoning_effort", EFFORTS)),
        response_format=_read_response_format(asked),
        verbosity=_unless(asked.choice("verbosity", LEVELS), "medium"),
        service_tier=_unless(asked.choice("service_tier", TIERS), "auto"),
        cache_key=asked.optional("prompt_cache_key", str),
        user=identifier or user,
        metadata=asked.optional("metadata", dict) or None,
        stream=asked.optional("stream", bool) or False,
        include_usage=stream_options.optional("include_usage", bool) or False,
        spelling=_spelling(body),
        dropped=tuple(dict.fromkeys((*dropped, *conversation.dropped))),
    )


def _spelling(body: Json) -> dict[str, str]:
    """Return the names used by this request for fields with an old and a new name."""
    return SPELLING | {
        "web_search": "web_search_options",
        "max_tokens": "max_tokens"
        if body.get("max_completion_tokens") is None
        else "max_completion_tokens",
        "user": "user" if body.get("safety_identifier") is None else "safety_identifier",
    }


def _read_reasoning(effort: str | None) -> ir.Reasoning:
    """Chat cannot ask for a summary, and newer Claude models think in silence unless asked; who
    sets an effort asks.
    """
    return ir.Reasoning(effort, summary="auto") if effort else ir.Reasoning()


def _unless(value: Any, default: Any) -> Any:
    """Return `value`, or None if `value` equals the API's default."""
    return None if value == default else value


def _read_tools(body: Object) -> tuple[ir.Tool | ir.WebSearch | ir.Opaque, ...]:
    """Return the tools of the request, the provider's web search and images included."""
    tools = [_read_tool(tool) for tool in body.objects("tools")]
    search = (
        []
        if body.get("web_search_options") is None
        else [_read_search(body.object("web_search_options"))]
    )
    return (*tools, *search, *_read_modalities(body))


def _read_modalities(body: Object) -> list[ir.Opaque]:
    """Return the tool for images, if images are wanted beside text."""
    wanted = texts(body.optional("modalities", list) or [], "modalities")
    if others := [name for name in wanted if name not in ("text", "image")]:
        raise field_error("modalities", f"text and images can be generated, {others[0]!r} cannot")
    return [ir.Opaque("openai", {"type": IMAGE_TOOL})] if "image" in wanted else []


def _read_tool(tool: Object) -> ir.Tool:
    if tool.one_of("type", ("function", "custom")) == "function":
        return read_function(tool.object("function"), cache=read_cache_mark(tool))
    custom = tool.object("custom")
    form = custom.inner("format")
    grammar = None
    if form.value and form.one_of("type", ("text", "grammar")) == "grammar":
        form.object("grammar").one_of("syntax", ("lark", "regex"))
        grammar = form.get("grammar")
    return ir.Tool(
        name=custom.text("name"),
        description=custom.optional("description", str),
        kind="custom",
        grammar=grammar,
        cache=read_cache_mark(tool),
    )


def _read_search(options: Object) -> ir.WebSearch:
    location = options.inner("user_location")
    return ir.WebSearch(
        location=location.optional("approximate", dict),
        context_size=options.choice("search_context_size", LEVELS),
    )


def _read_choice(choice: Any, names: set[str]) -> ir.ToolChoice | None:
    if choice is None or (not names and choice in ("auto", "none")):
        return None
    if not names:
        raise ClientError(
            "'tool_choice' is only allowed when tools are specified.", param="tool_choice"
        )
    if isinstance(choice, str):
        mode = one_of(choice, ("auto", "none", "required"), "tool_choice")
        return ir.ToolChoice(cast("Literal['auto', 'none', 'required']", mode))
    named = Object(expect(choice, dict, "tool_choice"), "tool_choice")
    if not named.value:
        raise missing(named.at("type"))
    if named.get("type") == "allowed_tools":
        return _read_allowed(named.object("allowed_tools"), names)
    return ir.ToolChoice("named", _tool_name(named, names))


def _read_allowed(allowed: Object, names: set[str]) -> ir.ToolChoice:
    mode = allowed.one_of("mode", ("auto", "required"))
    tools = objects(allowed.required("tools", list), allowed.at("tools"))
    allowed_names = tuple(_tool_name(tool, names) for tool in tools)
    return ir.ToolChoice(cast("Literal['auto', 'required']", mode), allowed=allowed_names)


def _tool_name(reference: Object, names: set[str]) -> str:
    if kind := reference.optional("type", str):
        reference = reference.object(one_of(kind, ("function", "custom"), reference.at("type")))
    name = reference.text("name")
    if name not in names:
        raise invalid(name, reference.at("name"), "No tool of that name is among the tools.")
    return name


def _read_max_tokens(body: Object) -> int | None:
    old = body.count("max_tokens")
    new = body.count("max_completion_tokens")
    if old is not None and new is not None and old != new:
        raise ClientError(
            "'max_tokens' is the old spelling of 'max_completion_tokens': send only one.",
            param="max_tokens",
        )
    return new if new is not None else old


def _read_stop(stop: Any) -> tuple[str, ...]:
    if stop is None:
        return ()
    if isinstance(stop, str):
        return (stop,)
    if not isinstance(stop, list):
        raise wrong_type(stop, "a string or an array of strings", "stop")
    if len(stop) > 4:
        raise invalid(stop, "stop", "Expected at most 4 sequences.")
    return texts(stop, "stop")


def _read_response_format(body: Object) -> ir.ResponseFormat | None:
    if body.optional("response_format", dict) is None:
        return None
    shape = body.object("response_format")
    match shape.one_of("type", ("text", "json_object", "json_schema")):
        case "json_object":
            return ir.ResponseFormat()
        case "json_schema":
            named = shape.object("json_schema")
            name = named.text("name")
            schema = named.required("schema", dict)
            return read_schema(named, name, schema)
    return None
