"""Valid streams and bodies of both providers, the ground that mutations are made of.

The recorded streams show the habits of the services. The others are written by the product's own
writers, so that every kind of block and item comes up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shared.formats.fold import unfold
from shared.formats.ir import (
    Citation,
    Opaque,
    Refusal,
    Reply,
    ReplyPart,
    Stop,
    StopReason,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from shared.formats.registry import PROVIDER_FORMATS
from tests.fuzz.mutations import Sent, read_stream
from tests.support.replies import PROMPT

Json = dict[str, Any]

RECORDED = Path(__file__).parent.parent / "recorded"
PREFIXES = {"anthropic": "messages", "openai_responses": "codex"}
USAGE = Usage(10, 20, 30, 40, 5)
PAGE: Json = {
    "type": "web_search_result_location",
    "url": "https://example.com/a",
    "title": "A",
    "cited_text": "c",
}
PAGE["encrypted_index"] = "ZW5j"
MARK: Json = {
    "type": "url_citation",
    "url": "https://example.com/a",
    "title": "A",
    "start_index": 0,
    "end_index": 2,
}
SEARCH: Json = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search"},
}
IMAGE: Json = {
    "type": "image_generation_call",
    "id": "ig_1",
    "status": "completed",
    "result": "iVBORw0KGgo=",
}
LIMITS: Json = {
    "type": "codex.rate_limits",
    "plan_type": "plus",
    "rate_limits": {
        "primary": {"used_percent": 3, "window_minutes": 300, "reset_at": 1_900_000_000}
    },
    "credits": {"has_credits": False},
}
PARTS: dict[str, tuple[ReplyPart, ...]] = {
    "anthropic": (
        Thinking(signature="c2VhbGVk", vendor="anthropic", redacted=True),
        Text("So it is.", (Citation("https://example.com/a", "A", vendor="anthropic", data=PAGE),)),
        ToolCall("toolu_1", "look_up", '{"name":"x"}'),
        ToolCall("toolu_2", "apply_patch", "*** Begin", "custom"),
    ),
    "openai_responses": (
        Thinking("It thinks.", "c2VhbGVk", "openai", "rs_1"),
        Opaque("openai", SEARCH),
        Text("So it is.", (Citation("https://example.com/a", "A", 0, 2, "openai", MARK),)),
        Refusal("No."),
        Opaque("openai", IMAGE),
        ToolCall("call_1", "look_up", '{"name":"x"}'),
    ),
}
ERRORS: dict[str, list[Json]] = {
    "anthropic": [
        {
            "type": "error",
            "error": {"type": "rate_limit_error", "message": "Slow down."},
            "request_id": "req_1",
        },
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Bad.",
                "details": {"error_code": "prompt_too_long"},
            },
        },
    ],
    "openai_responses": [
        {
            "error": {
                "message": "Slow down.",
                "type": "requests",
                "param": "input[0]",
                "code": "rate_limit_exceeded",
            }
        },
        {"detail": "Not Found"},
        {
            "error": {
                "type": "usage_limit_reached",
                "message": "The usage limit has been reached",
                "plan_type": "plus",
                "resets_at": 1_900_000_000,
                "resets_in_seconds": 3600,
            }
        },
    ],
}


def base_streams(provider: str) -> list[list[Sent]]:
    """Return every valid stream of `provider`: the recorded ones and one that is written."""
    recorded = [
        read_stream(path.read_bytes())
        for path in sorted(RECORDED.glob(f"{PREFIXES[provider]}*.sse"))
    ]
    return [*recorded, written_stream(provider)]


def whole_reply(provider: str) -> Json:
    """Return a whole reply as the provider sends it."""
    return PROVIDER_FORMATS[provider].write_reply(
        PROMPT, reply_of(provider), id="k3y", created=7, model="a-model"
    )


def reply_of(provider: str) -> Reply:
    return Reply(
        "id_1", "a-model", PARTS[provider], Stop(StopReason.TOOL_USE, USAGE, service_tier="default")
    )


def written_stream(provider: str) -> list[Sent]:
    writer = PROVIDER_FORMATS[provider].Writer(PROMPT, id="k3y", created=7, model="a-model")
    frames = [frame for event in unfold(reply_of(provider)) for frame in writer.feed(event)]
    sent = [Sent(str(frame.name), json.loads(json.dumps(frame.data))) for frame in frames]
    return sent if provider == "anthropic" else [sent[0], Sent(LIMITS["type"], LIMITS), *sent[1:]]
