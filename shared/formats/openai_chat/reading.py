"""A Chat Completions request as a Prompt: `FIELDS` says what becomes of every field of it, `KNOWN` what is read inside.

Unknown fields are refused as OpenAI does; inside objects they are dropped by name, for clients replay in messages what
other gateways put there.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from shared.errors import ClientError
from shared.formats import ir
from shared.formats.fields import (
    Fate,
    expect,
    invalid,
    join,
    judge,
    missing,
    objects,
    one_of,
    optional,
    optional_choice,
    optional_count,
    optional_number,
    optional_objects,
    required,
    strangers,
    wrong_type,
)
from shared.formats.ir import Json
from shared.formats.openai_chat.conversation import Conversation
from shared.formats.openai_parts import read_cache_mark

_CARRIED = (
    "messages model stream tool_choice parallel_tool_calls function_call max_completion_tokens max_tokens temperature "
    "top_p stop reasoning_effort verbosity response_format service_tier prompt_cache_key metadata safety_identifier"
)
FIELDS = {
    **dict.fromkeys(_CARRIED.split(), Fate("carried")),
    "stream_options": Fate("carried", "`include_usage`; obfuscation is not added"),
    "tools": Fate("carried", "`function` and `custom`"),
    "functions": Fate("carried", "answered with `function_call`"),
    "web_search_options": Fate("carried", "the provider's own web search"),
    "user": Fate("carried", "dropped when `safety_identifier` says something else"),
    "prompt_cache_options": Fate("dropped", harmless=({"mode": "implicit"}, {"mode": "implicit", "ttl": "30m"})),
    "prompt_cache_retention": Fate("dropped", harmless=("in_memory",)),
    "seed": Fate("dropped"),
    "frequency_penalty": Fate("dropped", harmless=(0,)),
    "presence_penalty": Fate("dropped", harmless=(0,)),
    "logit_bias": Fate("dropped", harmless=({},)),
    "store": Fate("dropped", "nothing is stored", harmless=(False,)),
    "n": Fate("refused", "only one choice can be generated", harmless=(1,)),
    "logprobs": Fate("refused", "the providers do not return log probabilities", harmless=(False,)),
    "top_logprobs": Fate("refused", "the providers do not return log probabilities", harmless=(0,)),
    "prediction": Fate("refused", "the providers do not take predicted output"),
    "modalities": Fate("refused", "only text can be generated", harmless=(["text"],)),
    "audio": Fate("refused", "only text can be generated"),
    "moderation": Fate("refused", "nothing here moderates"),
}

TIERS = ("auto", "default", "flex", "scale", "priority", "fast")

KNOWN = {
    path: frozenset(names.split())
    for path, names in {
        "": "messages tools functions response_format stream_options web_search_options",
        "messages[]": "role content name tool_call_id tool_calls function_call refusal reasoning_content audio",
        "messages[].content[]": "type text image_url file refusal prompt_cache_breakpoint cache_control",
        "messages[].content[].image_url": "url detail",
        "messages[].content[].file": "file_data file_id filename",
        "messages[].tool_calls[]": "id index type function custom",
        "messages[].tool_calls[].function": "name arguments",
        "messages[].tool_calls[].custom": "name input",
        "messages[].function_call": "name arguments",
        "tools[]": "type function custom cache_control prompt_cache_breakpoint",
        "tools[].function": "name description parameters strict",
        "tools[].custom": "name description format",
        "functions[]": "name description parameters",
        "response_format": "type json_schema",
        "response_format.json_schema": "name description schema strict",
        "stream_options": "include_usage include_obfuscation",
        "web_search_options": "search_context_size user_location",
    }.items()
}
"""What is read of the objects inside a request. Anything else in them is dropped by name."""


def read_prompt(body: Json) -> ir.Prompt:
    """Raises ClientError naming the field that cannot be taken."""
    dropped = [*judge(body, FIELDS), *strangers({name: body[name] for name in KNOWN[""] & body.keys()}, "", KNOWN)]
    model = required(body, "model", str)
    conversation = Conversation()
    for message, path in objects(required(body, "messages", list), "messages"):
        conversation.read(message, path)
    conversation.end()
    if not body["messages"]:
        raise invalid([], "messages", "Expected at least one message.")
    user, identifier = optional(body, "user", str), optional(body, "safety_identifier", str)
    if user and identifier and user != identifier:
        dropped.append("user")
    tools, choice, legacy = _read_tools(body)
    parallel = optional(body, "parallel_tool_calls", bool)
    stream_options = optional(body, "stream_options", dict) or {}
    return ir.Prompt(
        model=model,
        messages=tuple(conversation.messages),
        system=tuple(conversation.system),
        tools=tools,
        tool_choice=choice,
        parallel_tools=False if legacy else parallel if tools else None,
        max_tokens=_read_max_tokens(body),
        temperature=_unless(optional_number(body, "temperature", 0, 2), 1),
        top_p=_unless(optional_number(body, "top_p", 0, 1), 1),
        stop=_read_stop(body.get("stop")),
        reasoning=_read_reasoning(optional_choice(body, "reasoning_effort", ir.EFFORTS)),
        response_format=_read_response_format(optional(body, "response_format", dict)),
        verbosity=_unless(optional_choice(body, "verbosity", ("low", "medium", "high")), "medium"),
        service_tier=_unless(optional_choice(body, "service_tier", TIERS), "auto"),
        cache_key=optional(body, "prompt_cache_key", str),
        user=identifier or user,
        metadata=optional(body, "metadata", dict) or None,
        stream=optional(body, "stream", bool) or False,
        include_usage=optional(stream_options, "include_usage", bool, "stream_options") or False,
        legacy_functions=legacy,
        dropped=tuple(dict.fromkeys([*dropped, *conversation.dropped])),
    )


def _read_reasoning(effort: str | None) -> ir.Reasoning:
    """Chat cannot ask for a summary, and newer Claude models think in silence unless asked; who sets an effort asks."""
    return ir.Reasoning(effort, summary="auto") if effort else ir.Reasoning()


def _unless(value: Any, default: Any) -> Any:
    """A value equal to the API's default says nothing."""
    return None if value == default else value


def _read_tools(body: Json) -> tuple[tuple[ir.Tool | ir.WebSearch, ...], ir.ToolChoice | None, bool]:
    """The tools, the choice among them, and whether both were given in the old `functions` spelling."""
    functions = [_read_function(*each) for each in optional_objects(body, "functions")]
    tools = [_read_tool(*each) for each in optional_objects(body, "tools")]
    if tools and functions:
        raise ClientError("'functions' is the old spelling of 'tools': send only one of them.", param="functions")
    field = "tool_choice" if body.get("tool_choice") is not None else "function_call"
    choice = _read_choice(body.get(field), {tool.name for tool in (*tools, *functions)}, field)
    search = optional(body, "web_search_options", dict)
    return (*tools, *functions, *([] if search is None else [_read_search(search)])), choice, bool(functions)


def _read_tool(tool: Json, path: str) -> ir.Tool:
    if one_of(required(tool, "type", str, path), ("function", "custom"), join(path, "type")) == "function":
        return _read_function(
            required(tool, "function", dict, path), join(path, "function"), read_cache_mark(tool, path)
        )
    custom, where = required(tool, "custom", dict, path), join(path, "custom")
    text_format = optional(custom, "format", dict, where) or {"type": "text"}
    where_format = join(where, "format")
    grammar = None
    if one_of(required(text_format, "type", str, where_format), ("text", "grammar"), where_format) == "grammar":
        grammar = required(text_format, "grammar", dict, where_format)
        one_of(required(grammar, "syntax", str, where_format), ("lark", "regex"), f"{where_format}.grammar.syntax")
    return ir.Tool(
        name=required(custom, "name", str, where),
        description=optional(custom, "description", str, where),
        kind="custom",
        grammar=grammar,
        cache=read_cache_mark(tool, path),
    )


def _read_function(function: Json, path: str, cache: str | None = None) -> ir.Tool:
    return ir.Tool(
        name=required(function, "name", str, path),
        description=optional(function, "description", str, path),
        schema=optional(function, "parameters", dict, path),
        strict=optional(function, "strict", bool, path),
        cache=cache,
    )


def _read_search(options: Json) -> ir.WebSearch:
    path = "web_search_options"
    location = optional(options, "user_location", dict, path) or {}
    return ir.WebSearch(
        location=optional(location, "approximate", dict, join(path, "user_location")),
        context_size=optional_choice(options, "search_context_size", ("low", "medium", "high"), path),
    )


def _read_choice(choice: Any, names: set[str], path: str) -> ir.ToolChoice | None:
    """Also of `function_call`, whose named form is just `{name}`."""
    if choice is None or (not names and choice in ("auto", "none")):
        return None
    if not names:
        raise ClientError(f"'{path}' is only allowed when tools are specified.", param=path)
    if isinstance(choice, str):
        mode = one_of(choice, ("auto", "none", "required"), path)
        return ir.ToolChoice(cast("Literal['auto', 'none', 'required']", mode))
    if choice := expect(choice, dict, path):
        if choice.get("type") == "allowed_tools":
            return _read_allowed(required(choice, "allowed_tools", dict, path), names, join(path, "allowed_tools"))
        return ir.ToolChoice("named", _tool_name(choice, names, path))
    raise missing(join(path, "type"))


def _read_allowed(allowed: Json, names: set[str], path: str) -> ir.ToolChoice:
    mode = one_of(required(allowed, "mode", str, path), ("auto", "required"), join(path, "mode"))
    tools = objects(required(allowed, "tools", list, path), join(path, "tools"))
    return ir.ToolChoice(
        cast("Literal['auto', 'required']", mode),
        allowed=tuple(_tool_name(tool, names, where) for tool, where in tools),
    )


def _tool_name(reference: Json, names: set[str], path: str) -> str:
    if kind := optional(reference, "type", str, path):
        kind = one_of(kind, ("function", "custom"), join(path, "type"))
        reference, path = required(reference, kind, dict, path), join(path, kind)
    name = required(reference, "name", str, path)
    if name not in names:
        raise invalid(name, join(path, "name"), "No tool of that name is among the tools.")
    return name


def _read_max_tokens(body: Json) -> int | None:
    old, new = optional_count(body, "max_tokens"), optional_count(body, "max_completion_tokens")
    if old is not None and new is not None and old != new:
        raise ClientError(
            "'max_tokens' is the old spelling of 'max_completion_tokens': send only one.", param="max_tokens"
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
    return tuple(expect(text, str, f"stop[{number}]") for number, text in enumerate(stop))


def _read_response_format(shape: Json | None) -> ir.ResponseFormat | None:
    path = "response_format"
    if shape is None:
        return None
    kind = one_of(required(shape, "type", str, path), ("text", "json_object", "json_schema"), join(path, "type"))
    if kind == "text":
        return None
    if kind == "json_object":
        return ir.ResponseFormat()
    named, where = required(shape, "json_schema", dict, path), join(path, "json_schema")
    return ir.ResponseFormat(
        schema=optional(named, "schema", dict, where),
        name=required(named, "name", str, where),
        description=optional(named, "description", str, where),
        strict=optional(named, "strict", bool, where),
    )
