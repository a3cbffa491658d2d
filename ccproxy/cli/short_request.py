"""One short request to a model through a stack, as a client sends it. It costs its tokens."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import httpx

from ccproxy.cli.exits import TRY_LATER
from ccproxy.cli.gateway import Unanswered, checked

QUESTION = "Reply with the one word: ready."
REPLY_SECONDS = 60.0
AWAY = {httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT}


class ProviderAway(Unanswered):
    """The provider cannot be reached now."""

    exit_code = TRY_LATER


@dataclass(frozen=True, slots=True)
class ShortReply:
    """The text of a reply, the model that gave it, its time and its tokens; `prompt` includes the
    `cached` ones. `billed_to` is empty where the stack does not tell.
    """

    text: str
    model: str
    seconds: float
    prompt: int
    cached: int
    output: int
    billed_to: str


def ask_model(client: httpx.Client, route: str, model: str) -> ShortReply:
    """Send QUESTION to `model` on `route` ("api" or "codex") in Anthropic's format.

    Raises ProviderAway, and Unanswered for a refusal or a reply of another form.
    """
    # No smaller limit: a model that reasons first would spend it before its first word.
    body = {
        "model": model,
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": QUESTION}],
    }
    began = time.perf_counter()
    reply = client.post(
        f"/{route}/v1/messages",
        json=body,
        headers={"anthropic-version": "2023-06-01"},
        timeout=REPLY_SECONDS,
    )
    seconds = time.perf_counter() - began
    try:
        message: Any = checked(reply).json()
        blocks = message["content"]
        text = "".join(block["text"] for block in blocks if block["type"] == "text").strip()
        usage = message.get("usage", {})
        cached = usage.get("cache_read_input_tokens") or 0
        written = usage.get("cache_creation_input_tokens") or 0
    except Unanswered as error:
        raise (ProviderAway(error.message) if reply.status_code in AWAY else error) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unanswered(f"The reply is no message: {reply.text[:200]}") from error
    return ShortReply(
        text,
        reply.headers.get("x-ccproxy-model", model),
        seconds,
        usage.get("input_tokens", 0) + cached + written,
        cached,
        usage.get("output_tokens", 0),
        reply.headers.get("x-ccproxy-billed-to", ""),
    )
