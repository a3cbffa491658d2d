"""The refusals of the services beyond field shapes: the backend's own demands first, then the
relations of items.

Each rule looks at one `CodexRequest` and raises a CodexProblem in the service's words (those marked
`unmeasured` are ours).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from simulator.codex import images
from simulator.codex.fields import BACKEND, PUBLIC, check_field, check_items
from simulator.codex.models import CodexModel, find_codex_model
from simulator.codex.problem import backend_error, detail, refuse_parameter
from simulator.schemas import ROOT_COMBINATORS, Flaw, python_flaw, structure_flaw
from simulator.seal import KEY_REASONING, REASONING

Item = dict[str, Any]

PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "reasoning": "rs",
    images.CALL: "ig",
}
CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
LONGEST_ID = 64
IMAGE = re.compile(r"data:image/(png|jpe?g|gif|webp);base64,(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CodexRequest:
    """A body that passed every rule. `tools` holds every offered tool by name, also from
    namespaces.
    """

    body: dict[str, Any]
    model: CodexModel
    public: bool
    items: list[Item] = field(default_factory=list)
    tools: dict[str, Item] = field(default_factory=dict)


def check_responses_request(body: Any, *, public: bool) -> CodexRequest:
    """Return the checked request. Raises the first CodexProblem, in the order of the service."""
    if not isinstance(body, dict):
        raise detail("Request body must be a JSON object")  # unmeasured words
    fields = PUBLIC if public else BACKEND
    for name in body:
        if name not in fields:
            if public:
                refuse_parameter(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
            raise detail(f"Unsupported parameter: {name}")
    if not isinstance(body.get("model"), str):
        refuse_parameter(
            "Missing required parameter: 'model'.", "model", "missing_required_parameter"
        )
    model = find_codex_model(body["model"], public=public)
    # The backend's own demands come before the shapes of the fields: in this order the service
    # refuses.
    if not public:
        demands(body)
    for name, value in body.items():
        check_field(name, value, fields)
    items = check_input_items(body.get("input"), public=public)
    request = CodexRequest(body, model, public, items, dict(offered(body, items)))
    for rule in RULES:
        rule(request)
    return request


def demands(body: dict[str, Any]) -> None:
    """Check the extra demands of the backend."""
    if body.get("store") is not False:
        raise detail("Store must be set to false")
    if body.get("stream") is not True:
        raise detail("Stream must be set to true")
    items = body.get("input")
    if not isinstance(items, list):
        raise detail("Input must be a list")
    roles = [item.get("role") for item in items if isinstance(item, dict)]
    first = next((role for role in roles if role), "")
    if not body.get("instructions") and first not in ("developer", "system"):
        raise detail("Instructions are required")
    if "system" in roles:
        raise detail("System messages are not allowed")
    if body.get("service_tier") not in (None, "priority", "default"):
        raise detail(f"Unsupported service_tier: {body['service_tier']}")


def check_input_items(given: Any, *, public: bool) -> list[Item]:
    if isinstance(given, str) and public:
        return [{"type": "message", "role": "user", "content": given}]
    if not isinstance(given, list):
        refuse_parameter(
            "Missing required parameter: 'input'.", "input", "missing_required_parameter"
        )
    if not given:
        refuse_parameter(
            "Invalid 'input': empty array. Expected an array with minimum length 1.",
            "input",
            "empty_array",
        )
    check_items(given)
    return [{"type": "message", **item} for item in given]


def offered(body: dict[str, Any], items: list[Item]) -> Iterator[tuple[str, Item]]:
    """Yield (name, tool) of every tool on offer to the model; the tool of a namespace includes the
    namespace.
    """
    extra = [
        tool
        for item in items
        if item["type"] == "additional_tools"
        for tool in item.get("tools", [])
    ]
    for tool in [*(body.get("tools") or []), *extra]:
        if tool.get("type") == "namespace":
            yield from (
                (inner["name"], inner | {"namespace": tool["name"]}) for inner in tool["tools"]
            )
        else:
            yield tool.get("name", tool["type"]), tool


def ids(request: CodexRequest) -> None:
    for place, item in enumerate(request.items):
        where = f"input[{place}]"
        prefix = PREFIXES.get(item["type"], "")
        if item.get("id") and not item["id"].startswith(prefix):
            refuse_parameter(
                f"Invalid '{where}.id': '{item['id']}'. Expected an ID that begins with "
                f"'{prefix}'.",
                f"{where}.id",
                "invalid_value",
            )
        for name in ("id", "call_id", "name"):
            if len(value := item.get(name) or "") > LONGEST_ID:
                refuse_parameter(
                    f"Invalid '{where}.{name}': string too long. Expected a string with maximum "
                    f"length {LONGEST_ID}, but got a string with length {len(value)} instead.",
                    f"{where}.{name}",
                    "string_above_max_length",
                )
        # Nothing is stored here, so no reference leads anywhere.
        if item["type"] == "item_reference":
            raise not_stored(item.get("id", ""))


def reasoning(request: CodexRequest) -> None:
    for item in request.items:
        if item["type"] != "reasoning":
            continue
        sealed = item.get("encrypted_content")
        if not sealed:
            raise not_stored(item.get("id", ""))
        # The seal names the item it was made for: sealed reasoning under another id is a forgery.
        sealed_for = (KEY_REASONING if request.public else REASONING).open(sealed)
        if sealed_for is None or item.get("id") not in (None, sealed_for):
            refuse_parameter(
                f"The encrypted content {sealed[:4]}...{sealed[-4:]} could not be verified. "
                "Reason: Encrypted content could not be decrypted or parsed.",
                code="invalid_encrypted_content",
            )


def not_stored(name: str) -> Exception:
    return backend_error(
        404,
        f"Item with id '{name}' not found. Items are not persisted when `store` is set to false. "
        "Try again with `store` set to true, or remove this item from your input.",
        param="input",
    )


def check_calls(request: CodexRequest) -> None:
    """Check that every call has exactly one output, later in the input."""
    waiting: dict[str, str] = {}
    for item in request.items:
        kind = item["type"]
        if kind in CALLS:
            # Each call waits for an output of its own kind; whatever waits at the end was never
            # answered.
            waiting[item["call_id"]] = CALLS[kind]
        elif kind in CALLS.values() and waiting.pop(item["call_id"], "") != kind:
            spoken = kind.removesuffix("_output").replace("_", " ")
            refuse_parameter(
                f"No tool call found for {spoken} output with call_id {item['call_id']}.", "input"
            )
    if waiting:
        refuse_parameter(f"No tool output found for function call {next(iter(waiting))}.", "input")


def check_codex_media(request: CodexRequest) -> None:
    for place, item in enumerate(request.items):
        content = item.get("output") if item["type"] in CALLS.values() else item.get("content")
        for number, part in enumerate(content if isinstance(content, list) else []):
            url = part.get("image_url")
            if (
                part.get("type") != "input_image"
                or (url or "").startswith("https://")
                or part.get("file_id")
            ):
                continue
            found = IMAGE.fullmatch(url or "")
            if found is None or not is_base64(found[2]):
                refuse_parameter(
                    f"Invalid 'input[{place}].content[{number}].image_url'. Expected a valid URL "
                    "or a base64-encoded data URL of a PNG, JPEG, GIF or WebP image.",
                    f"input[{place}].content[{number}].image_url",
                    "invalid_value",
                )


def is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False


def check_codex_tools(request: CodexRequest) -> None:
    for tool in request.tools.values():
        if tool["type"] == "function":
            function_schema(tool)
        if len(tool.get("name", "")) > LONGEST_ID:
            refuse_parameter(
                f"Invalid 'tools.name': string too long: {tool['name'][:80]}",
                "tools",
                "string_above_max_length",
            )
    choice = request.body.get("tool_choice")
    if isinstance(choice, str) and choice not in {"none", "auto", "required"}:
        refuse_parameter(
            f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'.",
            "tool_choice",
        )
    if images.TOOL in request.tools:
        images.check_tool(request.tools[images.TOOL], choice, request.items, public=request.public)
    if isinstance(choice, dict) and choice.get("name", choice["type"]) not in {
        *request.tools,
        "allowed_tools",
    }:
        refuse_parameter(
            f"Tool choice '{choice.get('name')}' not found in 'tools' parameter.", "tool_choice"
        )


def function_schema(tool: Item) -> None:
    """The root is an object with properties, every pattern is Python's, and `strict` (true when
    left out) says more.
    """
    whose = f"Invalid schema for function '{tool['name']}'"
    schema = tool.get("parameters")
    if schema is None:
        return
    if schema.get("type") != "object":
        refuse_schema(
            whose,
            "schema must be a JSON Schema of 'type: \"object\"', got 'type: "
            f'"{schema.get("type")}"\'',
        )
    if any(keyword in schema for keyword in ROOT_COMBINATORS):
        named = "/".join(f"'{keyword}'" for keyword in ROOT_COMBINATORS)
        refuse_schema(
            whose, f"schema must have type 'object' and not have {named} at the top level"
        )
    usable_schema(schema, whose)
    if tool.get("strict", True):
        strict_schema(schema, whose)


def usable_schema(schema: Item, whose: str) -> None:
    flaw = structure_flaw(schema) or python_flaw(schema)
    if (
        flaw is None
        and schema.get("type") == "object"
        and not isinstance(schema.get("properties"), dict)
    ):
        flaw = Flaw((), "object schema missing properties")
    if flaw is not None:
        refuse_schema(whose, f"In context={flaw.context}, {flaw.problem}")


def refuse_schema(whose: str, problem: str) -> NoReturn:
    refuse_parameter(f"{whose}: {problem}.", code="invalid_function_parameters")


def strict_schema(schema: Any, whose: str) -> None:
    """Check a strict schema (`strict` is the default): objects must be closed and require all their
    properties.
    """
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") is not False:
            refuse_parameter(
                f"{whose}: In context=(), 'additionalProperties' is required to be supplied and to "
                "be false.",
                code="invalid_function_parameters",
            )
        if set(schema.get("properties") or {}) - set(schema.get("required") or []):
            refuse_parameter(
                f"{whose}: In context=(), 'required' is required to be supplied and to be an "
                "array including every key in properties.",
                code="invalid_function_parameters",
            )
    for inner in (schema.get("properties") or {}).values():
        strict_schema(inner, whose)
    strict_schema(schema.get("items"), whose)


def check_codex_effort(request: CodexRequest) -> None:
    wanted = (request.body.get("reasoning") or {}).get("effort")
    if wanted and wanted not in request.model.efforts:
        listed = ", ".join(f"'{effort}'" for effort in request.model.efforts)
        refuse_parameter(
            f"Unsupported value: '{wanted}' is not supported with the '{request.model.slug}' "
            f"model. Supported values are: {listed}.",
            "reasoning.effort",
            "unsupported_value",
        )


def structure(request: CodexRequest) -> None:
    form = (request.body.get("text") or {}).get("format") or {}
    if form.get("type") == "json_schema":
        whose = f"Invalid schema for response_format '{form['name']}'"
        usable_schema(form["schema"], whose)
        if form.get("strict"):
            strict_schema(form["schema"], whose)


def stored(request: CodexRequest) -> None:
    """Refuse references to stored items: the simulated interface keeps no memory."""
    if previous := request.body.get("previous_response_id"):
        raise backend_error(
            400,
            f"Previous response with id '{previous}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )


RULES: list[Callable[[CodexRequest], None]] = [
    ids,
    reasoning,
    check_calls,
    check_codex_media,
    check_codex_tools,
    check_codex_effort,
    structure,
    stored,
]
