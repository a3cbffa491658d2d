"""The bodies of requests: in every client's format on every way to a provider, and those of the
interfaces beside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pydantic import BaseModel, ValidationError

from gateway.capture.blocks import prompt_blocks, total_tokens
from gateway.managed.bodies import (
    AgentBody,
    AgentChanges,
    EnvironmentBody,
    EnvironmentChanges,
    SessionBody,
    SessionChanges,
)
from gateway.managed.sent_events import EventsBody, read_events, read_first_events
from gateway.metering.fingerprinting import fingerprint_of
from gateway.proxy.estimate import estimate
from gateway.proxy.peek import parse_object, peek, scan
from gateway.proxy.prompt_insight import folder_in
from gateway.proxy.sessions import session_named
from gateway.server.bodies import read_json
from gateway.server.decoding import DECODERS, decode_body
from gateway.server.forms import read_form
from shared.bus.channels import AccessRecord
from shared.bus.fingerprints import read_fingerprint
from shared.formats.openai_images import read_images_request, write_images_request
from shared.runtime.errors import CCProxyError
from shared.runtime.exact_json import dump_json
from tests.fuzz.routes import ROUTES, Json, Route
from tests.fuzz.targets.target import Target, chosen, hold, run, seed

WANTED = {b'"model"', b'"stream"'}
LIMIT = 64 * 1024
ENCODINGS = tuple(DECODERS)
MANAGED: tuple[type[BaseModel], ...] = (
    AgentBody,
    AgentChanges,
    EnvironmentBody,
    EnvironmentChanges,
    SessionBody,
    SessionChanges,
)
BOUNDARY = "b0undary"

Way = Callable[[int, bytes], None]


def document_in(data: bytes) -> Json | None:
    """Return the document that routing lets through, with the same fields found by a scan."""
    try:
        found = run(peek(data))
    except CCProxyError:
        return None
    document = found.document
    hold(document is not None and parse_object(data) == document, "a peek parses the body")
    # A scan reads no escapes, and the first of two equal names: the provider judges such a body.
    if b"\\" not in data and data.count(b'"model"') == 1 and data.count(b'"stream"') < 2:
        scanned = run(scan(data, WANTED))
        hold(scanned.get("model") == found.model, "a scan finds the model that a parser finds")
        hold((scanned.get("stream") is True) == found.stream, "a scan finds what is streamed")
    return document


def carry(route: Route, _: int, data: bytes) -> None:
    document = document_in(data)
    if document is None:
        return
    before = dump_json(document)
    try:
        carried = route.carry(document)
    except CCProxyError as error:
        hold(error.status < 500, f"a refusal is the client's: {error.message}")
        hold(dump_json(document) == before, "a refusal changes no document")
        return
    hold(dump_json(document) == before, "a client's document is not changed")
    hold(bool(dump_json(carried.document)), "a provider's document can be written")
    hold(all(isinstance(name, str) for name in carried.ignored), "ignored fields have names")


def look_at(number: int, data: bytes) -> None:
    """Check all that is noted of a request besides: its session, its folder, its blocks, its
    fingerprint.
    """
    document = document_in(data)
    if document is None:
        return
    session_named({}, {}, document)
    record = AccessRecord("r", 0.0, client_program=("claude-code", "codex")[number % 2])
    folder_in(record, document)
    hold(estimate(document) >= 0, "an estimate is a number")
    blocks = prompt_blocks(document)
    total = total_tokens(blocks)
    hold(bool(dump_json([block.shown(total) for block in blocks])), "blocks can be shown")
    for kind in ("messages", "responses"):
        try:
            found = run(fingerprint_of(kind, document))
        except (TypeError, ValueError, RecursionError):
            continue  # a prompt that cannot be read is not explained (prompt_insight.py)
        hold(read_fingerprint(found.written()) == found, "a fingerprint is read as it was written")


def ask_for_images(number: int, data: bytes) -> None:
    try:
        document = parse_object(data)
        asked = read_images_request(document, edit=number % 2 == 0)
        written = write_images_request(asked, caller="m", image_model="gpt-image-1", forced=True)
        hold(bool(dump_json(written)), "a request can be written")
    except CCProxyError:
        return


def manage(number: int, data: bytes) -> None:
    shape = MANAGED[number % len(MANAGED)]
    try:
        document = read_json(data)
        found = shape.model_validate(document)
    except (CCProxyError, ValidationError):
        return
    written = found.model_dump(exclude_unset=True)
    hold(bool(dump_json(written)), "a stored body can be written")


def send_events(number: int, data: bytes) -> None:
    try:
        document = read_json(data)
        events = EventsBody.model_validate(document).events
        read = (read_first_events if number % 2 else read_events)(events)
    except (CCProxyError, ValidationError):
        return
    hold(bool(dump_json(read)), "stored events can be written")


def unpack(number: int, data: bytes) -> None:
    name = ENCODINGS[number % len(ENCODINGS)]
    try:
        unpacked = run(decode_body(data, name, LIMIT))
    except CCProxyError:
        return
    hold(len(unpacked) <= LIMIT, "an unpacked body keeps its limit")


def fill_form(_: int, data: bytes) -> None:
    try:
        document = run(read_form(data, f"multipart/form-data; boundary={BOUNDARY}"))
    except CCProxyError:
        return
    hold(bool(dump_json(document)), "a form is a document")


WAYS: tuple[Way, ...] = (
    *(partial(carry, route) for route in ROUTES),
    look_at,
    ask_for_images,
    manage,
    send_events,
    unpack,
    fill_form,
)
PICTURE = "data:image/png;base64,iVBORw0KGgo="
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["a", "b"]}, "n": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
BODIES: dict[str, Json] = {
    "anthropic": {
        "model": "claude-sonnet-5-5",
        "max_tokens": 100,
        "stream": True,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "hi"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "aWlp"},
                    },
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "d"},
                        "citations": {"enabled": True},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t", "signature": "c2VhbGVk"},
                    {"type": "text", "text": "so"},
                    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"city": "a"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "content": [{"type": "text", "text": "r"}],
                        "is_error": False,
                    }
                ],
            },
        ],
        "tools": [
            {"name": "f", "description": "d", "input_schema": SCHEMA, "strict": True},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}},
        "metadata": {"user_id": "u"},
        "stop_sequences": ["END"],
        "temperature": 1,
        "top_p": 0.9,
        "top_k": 5,
        "service_tier": "auto",
    },
    "openai_chat": {
        "model": "gpt-5.5",
        "messages": [
            {"role": "developer", "content": "s"},
            {
                "role": "user",
                "name": "me",
                "content": [
                    {"type": "text", "text": "hi"},
                    {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
                    {
                        "type": "file",
                        "file": {"filename": "a.pdf", "file_data": "data:a/b;base64,aQ"},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"city":"a"}'},
                    },
                    {"id": "call_2", "type": "custom", "custom": {"name": "p", "input": "x"}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "r"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "r"}]},
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}},
            {"type": "custom", "custom": {"name": "p", "format": {"type": "text"}}},
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": SCHEMA, "strict": True},
        },
        "reasoning_effort": "low",
        "max_completion_tokens": 100,
        "stream": True,
        "stream_options": {"include_usage": True},
        "stop": ["END"],
        "n": 1,
        "parallel_tool_calls": False,
        "web_search_options": {"search_context_size": "low"},
        "prompt_cache_key": "k",
        "verbosity": "low",
    },
    "openai_responses": {
        "model": "gpt-5.5",
        "instructions": "s",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "hi"},
                    {"type": "input_image", "image_url": PICTURE, "detail": "auto"},
                    {"type": "input_file", "filename": "a.txt", "file_data": "data:a/b;base64,aQ"},
                ],
            },
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "t"}],
                "encrypted_content": "c2VhbGVk",
            },
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"city":"a"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "r"},
            {
                "type": "local_shell_call",
                "call_id": "c2",
                "action": {"type": "exec", "command": ["ls"], "env": {}},
                "status": "completed",
            },
            {"type": "local_shell_call_output", "call_id": "c2", "output": "r"},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "so", "annotations": []}],
            },
            {"type": "custom_tool_call", "call_id": "c3", "name": "p", "input": "x"},
            {"type": "custom_tool_call_output", "call_id": "c3", "output": "r"},
        ],
        "tools": [
            {"type": "function", "name": "f", "parameters": SCHEMA, "strict": True},
            {"type": "custom", "name": "p", "format": {"type": "grammar", "syntax": "lark"}},
            {"type": "web_search", "search_context_size": "low"},
            {"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "g"}]},
        ],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []},
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "stream": True,
        "max_output_tokens": 100,
        "parallel_tool_calls": True,
        "prompt_cache_key": "k",
        "service_tier": "priority",
        "metadata": {"session_id": "s"},
    },
}
IMAGES = {"prompt": "a cat", "n": 2, "size": "1024x1024", "image": [PICTURE], "stream": True}
AGENT: Json = {
    "name": "a",
    "model": "claude-sonnet-5-5",
    "system": "s",
    "tools": [
        {"type": "agent_toolset_20260401", "configs": [{"name": "bash", "enabled": True}]},
        {"type": "custom", "name": "w", "description": "d", "input_schema": SCHEMA},
    ],
    "metadata": {"k": "v"},
}
ENVIRONMENT = {"name": "e", "config": {"type": "cloud", "networking": {"type": "unrestricted"}}}
STARTED = {"agent": "agent_1", "environment_id": "env_1", "title": "t", "metadata": {"k": "v"}}
EVENTS = {
    "events": [
        {"type": "user.message", "content": [{"type": "text", "text": "hi"}]},
        {"type": "user.interrupt"},
        {"type": "user.tool_confirmation", "tool_use_id": "t", "result": "allow"},
        {
            "type": "user.custom_tool_result",
            "custom_tool_use_id": "t",
            "content": [{"type": "text", "text": "r"}],
        },
    ]
}
FORM = (
    f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="image[]"; filename="a.png"\r\n'
    f"content-type: image/png\r\n\r\niii\r\n--{BOUNDARY}\r\n"
    f'content-disposition: form-data; name="n"\r\n\r\n2\r\n--{BOUNDARY}--\r\n'
).encode()
PACKED = {  # b"[1,2]"
    "gzip": "1f8b08000000000002ff8b36d4318a0500c9dc01f905000000",
    "deflate": "789c8b36d4318a0500041101a8",
    "br": "0b0280" + "5b312c325d" + "03",
    "zstd": "28b52ffd20052900005b312c325d",
}


def check(data: bytes) -> None:
    way, number, body = chosen(data, WAYS)
    way(number, body)


def seeds() -> list[bytes]:
    carried = [seed(way, BODIES[route.client]) for way, route in enumerate(ROUTES)]
    beside = len(ROUTES)
    bodies = [AGENT, AGENT | {"version": 1}, ENVIRONMENT, ENVIRONMENT, STARTED, {"title": "t"}]
    return [
        *carried,
        *(seed(beside, body, number) for number, body in enumerate(BODIES.values())),
        seed(beside + 1, IMAGES, 0),
        seed(beside + 1, {"prompt": "a cat", "background": "opaque"}, 1),
        *(seed(beside + 2, body, number) for number, body in enumerate(bodies)),
        seed(beside + 3, EVENTS, 0),
        seed(beside + 3, {"events": EVENTS["events"][:1]}, 1),
        *(
            seed(beside + 4, bytes.fromhex(packed), ENCODINGS.index(name))
            for name, packed in PACKED.items()
        ),
        seed(beside + 5, FORM),
    ]


REQUESTS = Target("requests", "request bodies on every way to a provider", check, seeds)
