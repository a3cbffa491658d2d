"""Every field of a Responses request where it may stand. What the backend refuses by name is simply
not among its own.

Sources: the type files of the official SDK (3.54), what Codex 0.169.0 sends, and reports of what
the backend refuses. What hosted tools and their items carry inside is not looked at.
"""

from __future__ import annotations

import re

from simulator.codex import images
from simulator.codex.problem import CodexProblem, backend_error
from simulator.shape import (
    Check,
    Misfit,
    anything,
    at_least,
    at_most,
    boolean,
    list_of,
    literal,
    mapping,
    matching,
    names,
    nullable,
    number,
    record,
    tagged,
    text,
    text_or,
)

SUPPORTED = re.compile(
    r"Input tag '(.*)' found using '(.*)' does not match any of the expected tags: (.*)"
)
NAME = matching(r"^[a-zA-Z0-9_-]+$")
IMAGE = record(
    image_url=nullable(text),
    file_id=nullable(text),
    detail=literal("auto", "low", "high", "original"),
)
FILE = record(file_data=text, file_id=text, file_url=text, filename=text, detail=anything)
INPUT_PARTS: dict[str, Check] = {
    "input_text": record("text", text=text),
    "input_image": IMAGE,
    "input_file": FILE,
}
INPUT = text_or(list_of(tagged(INPUT_PARTS, shown=False)))
SPOKEN = text_or(
    list_of(
        tagged(
            {
                "output_text": record(
                    "text", text=text, annotations=list_of(mapping), logprobs=anything
                ),
                "refusal": record("refusal", refusal=text),
            },
            shown=False,
        )
    )
)
ANY_ITEM: dict[str, Check] = {
    "id": nullable(text),
    "status": nullable(literal("in_progress", "completed", "incomplete")),
    "internal_chat_message_metadata_passthrough": mapping,
}
CALL: dict[str, Check] = ANY_ITEM | {
    "call_id": text,
    "name": NAME,
    "namespace": text,
    "caller": nullable(mapping),
    "async": boolean,
}


def item(required: str = "", /, **fields: Check) -> Check:
    return record(required, **ANY_ITEM, **fields)


HEARD = item("content", content=INPUT, phase=nullable(text))
MESSAGE = tagged(
    {
        "user": HEARD,
        "developer": HEARD,
        "system": HEARD,
        "assistant": item(
            "content", content=SPOKEN, phase=nullable(literal("commentary", "final_answer"))
        ),
    },
    "role",
    shown=False,
)
OUTPUT = item(
    "call_id output",
    call_id=text,
    output=INPUT,
    name=nullable(NAME),
    namespace=nullable(text),
    caller=nullable(mapping),
)
HOSTED_ITEMS = names("""
    additional_tools compaction compaction_trigger tool_search_call tool_search_output
    web_search_call file_search_call
    computer_call computer_call_output image_generation_call code_interpreter_call local_shell_call
    local_shell_call_output shell_call shell_call_output mcp_list_tools mcp_approval_request
    mcp_approval_response
    mcp_call item_reference
    apply_patch_call apply_patch_call_output configuration_update program program_output
""")
ITEM = tagged(
    {
        "message": MESSAGE,
        "function_call": record("call_id name arguments", **CALL, arguments=text),
        "custom_tool_call": record("call_id name input", **CALL, input=text),
        "function_call_output": OUTPUT,
        "custom_tool_call_output": OUTPUT,
        "reasoning": item(
            "summary",
            summary=list_of(tagged({"summary_text": record("text", text=text)}, shown=False)),
            content=nullable(list_of(mapping)),
            encrypted_content=nullable(text),
        ),
        **dict.fromkeys(HOSTED_ITEMS, mapping),
    },
    default="message",
    shown=False,
)
ANY_TOOL: dict[str, Check] = {
    "name": NAME,
    "defer_loading": boolean,
    "allowed_callers": nullable(list_of(text)),
    "async": boolean,
}
FUNCTION = record(
    "name", **ANY_TOOL, description=nullable(text), parameters=nullable(mapping),
    strict=nullable(boolean), output_schema=anything,
)  # fmt: skip
CUSTOM = record("name", **ANY_TOOL, description=text, format=mapping)
HOSTED_TOOLS = names("""
    tool_search web_search web_search_2025_08_26 file_search computer mcp code_interpreter
    image_generation local_shell
    shell apply_patch programmatic_tool_calling
""")
NESTED = tagged({"function": FUNCTION, "custom": CUSTOM}, shown=False)
TOOL = tagged(
    {
        "function": FUNCTION,
        "custom": CUSTOM,
        "namespace": record("name tools", name=NAME, description=text, tools=list_of(NESTED)),
        **dict.fromkeys(HOSTED_TOOLS, mapping),
        images.TOOL: images.SHAPE,
    },
    shown=False,
)
TOOL_CHOICE = text_or(
    tagged(
        {
            "function": record("name", name=NAME),
            "custom": record("name", name=NAME),
            "allowed_tools": record(
                "mode tools", mode=literal("auto", "required"), tools=list_of(mapping)
            ),
            **dict.fromkeys(HOSTED_TOOLS, mapping),
        },
        shown=False,
    )
)
FORMAT = tagged(
    {
        "text": record(),
        "json_object": record(),
        "json_schema": record(
            "name schema", name=NAME, schema=mapping, strict=nullable(boolean), description=text
        ),
    },
    shown=False,
)
INCLUDABLE = literal(
    "reasoning.encrypted_content", "web_search_call.action.sources", "web_search_call.results",
    "file_search_call.results", "code_interpreter_call.outputs", "message.input_image.image_url",
    "computer_call_output.output.image_url", "message.output_text.logprobs",
)  # fmt: skip
REASONING_FIELDS: dict[str, Check] = {
    "effort": nullable(text),
    "summary": nullable(literal("auto", "concise", "detailed", "none")),
    "context": nullable(literal("auto", "current_turn", "all_turns")),
}
REASONING = nullable(record(**REASONING_FIELDS))
BACKEND: dict[str, Check] = {
    "model": text,
    "instructions": nullable(text),
    "input": anything,
    "tools": nullable(list_of(TOOL)),
    "tool_choice": TOOL_CHOICE,
    "parallel_tool_calls": boolean,
    "reasoning": REASONING,
    "store": boolean,
    "stream": boolean,
    "include": nullable(list_of(INCLUDABLE)),
    "prompt_cache_key": nullable(at_most_characters := matching(r"^[\s\S]{1,64}$")),
    "text": nullable(record(format=FORMAT, verbosity=nullable(literal("low", "medium", "high")))),
    "service_tier": nullable(literal("priority", "default")),
    "client_metadata": nullable(mapping),
}
PUBLIC: dict[str, Check] = BACKEND | {
    "access_programs": nullable(mapping),
    "background_options": nullable(mapping),
    "conversation": nullable(text_or(mapping)),
    "image": nullable(mapping),
    "parallel_tool_calls": nullable(boolean),
    "prompt": nullable(mapping),
    "store": nullable(boolean),
    "stream": nullable(boolean),
    "reasoning": nullable(
        record(**REASONING_FIELDS, generate_summary=anything, mode=nullable(text))
    ),
    "service_tier": nullable(
        literal("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")
    ),
    "temperature": nullable(at_least(0, at_most(2, number))),
    "top_p": nullable(at_least(0, at_most(1, number))),
    "max_output_tokens": nullable(at_least(16)),
    "max_tool_calls": nullable(at_least(1)),
    "metadata": nullable(mapping),
    "user": nullable(text),
    "safety_identifier": nullable(at_most_characters),
    "truncation": nullable(literal("auto", "disabled")),
    "stream_options": nullable(mapping),
    "prompt_cache_retention": nullable(text),
    "prompt_cache_options": nullable(mapping),
    "top_logprobs": nullable(at_least(0)),
    "background": nullable(boolean),
    "previous_response_id": nullable(text),
    "context_management": nullable(list_of(mapping)),
    "moderation": anything,
}
NOTHING: frozenset[str] = frozenset()


def check_field(name: str, value: object, fields: dict[str, Check]) -> None:
    """Check a field. Raises the CodexProblem in OpenAI's words for a misfit."""
    try:
        fields[name](value, name, NOTHING)
    except Misfit as misfit:
        raise in_their_words(str(misfit)) from misfit


def check_items(items: list[object]) -> None:
    try:
        list_of(ITEM)(items, "input", NOTHING)
    except Misfit as misfit:
        raise in_their_words(str(misfit)) from misfit


def in_their_words(misfit: str) -> CodexProblem:
    where, _, problem = misfit.partition(": ")
    where = re.sub(r"\.(\d+)", r"[\1]", where)
    if problem == "Extra inputs are not permitted":
        return backend_error(
            400, f"Unknown parameter: '{where}'.", code="unknown_parameter", param=where
        )
    if problem == "Field required":
        return backend_error(
            400,
            f"Missing required parameter: '{where}'.",
            code="missing_required_parameter",
            param=where,
        )
    if found := SUPPORTED.fullmatch(problem):
        where = f"{where}.{found[2]}"
        problem = f"'{found[1]}'. Supported values are: {found[3]}"
        return backend_error(400, f"Invalid value: {problem}.", code="invalid_value", param=where)
    return backend_error(400, f"Invalid '{where}': {problem}.", code="invalid_value", param=where)
