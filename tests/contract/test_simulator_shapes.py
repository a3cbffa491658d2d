"""The simulator's shapes of requests, which are written by hand, held to the official SDKs' types
(docs/decisions/0082-the-simulators-shapes.md): a body of these types fits, and what one of the two
refuses the other refuses too, except at the places listed here. An entry that no body needs any
more fails.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from anthropic.types.beta.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.beta.message_create_params import MessageCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from shared.runtime.exact_json import dump_json, load_json
from simulator.anthropic import access
from simulator.anthropic import fields as messages_fields
from simulator.codex import fields as responses_fields
from simulator.codex.problem import CodexProblem
from simulator.shape import Misfit
from tests.fuzz.retyped import make_wrong
from tests.fuzz.routes import PROBLEMS, REFUSALS, ROUTES, SHAPES, Route
from tests.fuzz.sdk_types import refusal_of
from tests.fuzz.settled import settle
from tests.fuzz.typed_values import Values, fields_of

Json = dict[str, Any]
BODIES = int(os.environ.get("FUZZ_BODIES", "300"))
CHANGES = 50
"""The changes that are tried on each body."""
FORMS = {
    "name": "look", "id": "srvtoolu_1", "tool_use_id": "toolu_1", "call_id": "call_1",
    "url": "https://example.com/x", "prompt_cache_key": "k", "safety_identifier": "s",
    "size": "auto", "budget_tokens": 2048, "top_p": 0.5, "max_output_tokens": 100,
    "frame_count": 2, "output_compression": 50, "partial_images": 1,
}  # fmt: skip
"""Values of the form that the services demand, where the types say "a text" or "a number"."""


def refusal_of_messages(body: Json) -> str:
    try:
        messages_fields.MESSAGES_2023(body, "", access.BETAS)
    except Misfit as misfit:
        return str(misfit)
    return ""


def refusal_of_responses(body: Json) -> str:
    try:
        for name, value in body.items():
            if name not in responses_fields.PUBLIC:
                return f"{name}: unknown"
            responses_fields.check_field(name, value, responses_fields.PUBLIC)
        if not isinstance(body.get("input", ""), str):
            responses_fields.check_items(body["input"])
    except CodexProblem as problem:
        message: str = json.loads(problem.body)["error"]["message"]
        return message
    return ""


@dataclass(frozen=True, slots=True)
class Service:
    """A format, the SDK's type of its requests, and how the simulator's shape refuses a body.

    `stricter` are words of refusals that the types do not know, `looser` the places where the
    shape takes what the types refuse, each with the reason.
    """

    name: str
    shape: type
    refusal: Callable[[Json], str]
    stricter: dict[str, str]
    looser: dict[str, str]


LEFT_OUT = ("betas", "billing_policy", "stream", "user_profile_id", "workspace_id")
"""Fields without which a body is changed: their place is elsewhere, and `stream` chooses the type."""
UNSEEN = "what server-side tools, their items and their settings carry inside is not looked at"
# fmt: off
SERVICES = [
    Service(
        "messages",
        MessageCreateParamsNonStreaming,
        refusal_of_messages,
        {
            r"(betas|user_profile_id|workspace_id): Extra.*": "the SDK sends them as headers",
            r"billing_policy: Extra.*": "bills the organization of somebody else",
            r"messages.*: Input tag 'tool_(addition|removal)'.*": "stand in `system` messages only",
        },
        {
            r"tools\..*\.allowed_callers\..*": UNSEEN,
            r"tools\.<\w*[0-9]{8}>.*|tools\.<(mcp_toolset|tool_search_tool_\w+)>.*": UNSEEN,
            r"messages\..*<\w+_tool_result>.*": UNSEEN,
            r"messages\..*<(mcp_\w+|compaction|fallback|tool_(addition|removal)|browser_state)>.*": UNSEEN,
            r"messages\..*\.(clear_at|caller.*)": UNSEEN,
            r".*\.citations\.<.*": "written by the service, and sent back as they came",
            r"(compaction|context_management|fallback\w*|mcp_servers)\b.*": UNSEEN,
            r"(container\.skills|output_config\.task_budget|thinking\.block_binding)\b.*": UNSEEN,
            r"thread\b.*": "looked at by a module of its own, simulator/anthropic/threads.py",
        },
    ),
    Service(
        "responses",
        ResponseCreateParamsNonStreaming,
        refusal_of_responses,
        {
            r"Unknown parameter: .*prompt_cache_breakpoint'\.": "the backend does not know it",
            r"Invalid value: '(computer_use|web_search_preview)\w*'.*": "older spellings of a tool",
            r"Invalid value: 'input_\w+'.*": "an assistant's parts are output_text and refusal",
            r"Invalid 'tools.*\.tools.*\.parameters': .*": "a schema is an object, also in a namespace",
            r"Missing required parameter: 'input.*\.(call_id|role)'\.": "the service asks for it",
        },
        {
            r"tools\.<(?!(function|custom|namespace|image_generation)>)\w+>.*": UNSEEN,
            r"(tools|input)\..*\.(svg|format|allowed_callers|output_schema|caller|annotations|logprobs)\b.*": UNSEEN,
            r"tools\.(<namespace>\.tools\.)?<function>\.(parameters|strict)": "the service has defaults",
            r"tools\.<namespace>\.description": "the service has defaults",
            r"input\.<(?!(message|user|assistant|system|developer|function_call|reasoning)>)\w+>.*": UNSEEN,
            r"(access_programs|background_options|context_management|conversation|image)\b.*": UNSEEN,
            r"(moderation|prompt|prompt_cache_\w+|stream_options)\b.*": UNSEEN,
            r"metadata\b.*": "values of any type",
            r"reasoning\.(effort|generate_summary|mode)": "the model decides, not the type",
            r"(text|tools|user)": "null is the same as left out",
            r"tool_choice\b.*": UNSEEN,
        },
    ),
]
# fmt: on
EACH = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)


def plain_body(service: Service, number: int) -> Json:
    """Return body `number`, made from the SDK's type, with values of the form that is demanded."""
    chance = random.Random(f"{service.name} {number}")
    return Values(chance, ("m",), FORMS).body(service.shape)


@pytest.mark.timeout(60 + BODIES // 10)
@EACH
def test_a_body_of_the_sdks_type_fits_the_shape(service: Service) -> None:
    found: dict[str, int] = {}
    for number in range(BODIES * 5):
        body = plain_body(service, number)
        assert refusal_of(service.shape, body) == ""
        refused = service.refusal(body)
        if refused:
            found.setdefault(refused, number)
    assert unlisted(found, service.stricter) == ({}, set())


@pytest.mark.timeout(60 + BODIES // 10)
@EACH
def test_a_body_with_one_wrong_value_is_refused_by_shape_and_type(service: Service) -> None:
    looser: dict[str, str] = {}
    stricter: dict[str, str] = {}
    tried = 0
    for number in range(BODIES):
        body = plain_body(service, number)
        for name in LEFT_OUT:
            body.pop(name, None)
        if service.refusal(body):
            continue
        chance = random.Random(f"wrong {service.name} {number}")
        for _ in range(CHANGES):
            wrong = make_wrong(body, chance)
            by_type = refusal_of(service.shape, body)
            by_shape = service.refusal(body)
            wrong.undo()
            tried += 1
            if by_type and not by_shape:
                looser.setdefault(without_marks(wrong.path), f"{wrong.change}, body {number}")
            if by_shape and not by_type:
                stricter.setdefault(by_shape, f"{wrong.path}, body {number}")
    assert tried > BODIES * CHANGES / 3
    assert unlisted(looser, service.looser) == ({}, set())


WRITTEN = {
    "api": (MessageCreateParamsNonStreaming, {*messages_fields.SAMPLING, "stream"}),
    "codex": (ResponseCreateParamsNonStreaming, {"stream"}),
    "platform": (ResponseCreateParamsNonStreaming, {"stream"}),
}
"""The type of what a provider gets, and the fields that it does not have: `stream` is another type,
and version 2.12 of the SDK left the settings of sampling out."""


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.provider in WRITTEN and not route.is_native],
    ids=lambda route: f"{route.client}-to-{route.provider}",
)
def test_a_translated_body_that_the_simulator_takes_is_of_the_sdks_type(route: Route) -> None:
    shape, other_fields = WRITTEN[route.provider]
    refused = {}
    taken = 0
    for number in range(BODIES):
        chance = random.Random(f"written {route.client} {route.provider} {number}")
        body = Values(chance, route.models).body(SHAPES[route.client])
        settle(route.client, body, chance)
        try:
            document = route.carry(body).document
            route.judge(document)
        except (*REFUSALS, *PROBLEMS):
            continue
        taken += 1
        written = load_json(dump_json(document))
        written = {name: value for name, value in written.items() if name not in other_fields}
        add_defaults(written)
        refused[refusal_of(shape, written)] = number
    assert taken > BODIES / 3
    assert refused.keys() == {""}


def add_defaults(document: Json) -> None:
    """Add what OpenAI's types require in a message, and the services do not."""
    for item in document.get("input") or ():
        content = item.get("content")
        if isinstance(content, list) and item.get("role") == "assistant":
            item.setdefault("id", "msg_1")
            item.setdefault("status", "completed")
        for part in content if isinstance(content, list) else ():
            if part["type"] == "output_text":
                part.setdefault("annotations", [])
            if part["type"] == "input_image":
                part.setdefault("detail", "auto")


def test_no_field_of_a_request_is_unknown_to_the_sdks_types() -> None:
    of_messages = {*names_of(MessageCreateParamsNonStreaming)} | messages_fields.SAMPLING.keys()
    of_responses = {*names_of(ResponseCreateParamsNonStreaming)}
    assert messages_fields.CREATED.keys() - of_messages == {"output_format", "safeguards"}
    assert messages_fields.COUNTED.keys() - names_of(MessageCountTokensParams) == {"output_format"}
    assert responses_fields.PUBLIC.keys() - of_responses == {"client_metadata"}
    assert responses_fields.BACKEND.keys() <= responses_fields.PUBLIC.keys()


def names_of(shape: type) -> set[str]:
    return {name for name, _, _ in fields_of(shape)}


def unlisted(found: dict[str, Any], listed: dict[str, str]) -> tuple[dict[str, Any], set[str]]:
    """Return what was found and is not listed, and which entries of the list match nothing."""
    needed = set()
    strange = {}
    for name, where in found.items():
        matching = [pattern for pattern in listed if re.fullmatch(pattern, name, re.DOTALL)]
        needed.update(matching)
        if not matching:
            strange[name] = where
    return strange, set(listed) - needed


def without_marks(path: str) -> str:
    """Return a path without the numbers that generated texts carry."""
    return re.sub(r"m\d+m", "m", path)
