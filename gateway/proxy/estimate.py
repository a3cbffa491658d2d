"""Estimated tokens of a Messages request: the ChatGPT backend counts no tokens without answering
the request.

The estimate is good enough to decide when to compact a conversation, the clients' reason for
counting; the reply says that the number is an estimate.
"""

from __future__ import annotations

import math
from typing import Any

import orjson

from gateway.providers import Outgoing
from gateway.proxy.active_requests import ActiveRequest
from gateway.proxy.exchange import Exchange
from gateway.proxy.relay import send_whole
from gateway.server.asgi import Send
from shared.formats import messages
from shared.formats.ir import Json
from shared.runtime.errors import CCProxyError

BYTES_PER_TOKEN = (
    4  # English text and code under OpenAI's tokenizers; other scripts come out too high
)
IMAGE_TOKENS = 1_000  # a screenshot in high detail
DOCUMENT_BYTES_PER_TOKEN = 25  # a page of a PDF: some 50 kB, some 2,000 tokens
# The fields of a Messages and of a Responses request that a model reads.
COUNTED = (
    "system",
    "messages",
    "tools",
    "tool_choice",
    "output_config",
    "instructions",
    "input",
    "text",
)


class EstimateTokens(Exchange):
    """The `count_tokens` endpoint of a provider that counts no tokens."""

    __slots__ = ()

    async def answer(
        self, request: Outgoing, send: Send, active: ActiveRequest
    ) -> CCProxyError | None:
        document = request.parsed()
        messages.read_prompt(document)  # an invalid request is refused, not counted
        headers = [(b"content-type", b"application/json"), (b"x-ccproxy-estimate", b"true")]
        await send_whole(200, headers, orjson.dumps({"input_tokens": estimate(document)}), send)
        return None


def estimate(document: Json) -> int:
    return math.ceil(sum(tokens_in(document[name]) for name in COUNTED if name in document))


def tokens_in(value: Any) -> float:
    """Return the estimated tokens of `value`: all texts, names and numbers, and an amount for
    images and documents.
    """
    found = 0.0
    # Without recursion, which fails at a depth that JSON may have.
    left = [value]
    while left:
        match left.pop():
            case str(text):
                found += len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN
            case {"type": "base64", "media_type": str(kind), "data": str(data)}:
                found += (
                    IMAGE_TOKENS
                    if kind.startswith("image/")
                    else len(data) * 3 / 4 / DOCUMENT_BYTES_PER_TOKEN
                )
            case dict(inner):
                found += sum(map(len, inner)) / BYTES_PER_TOKEN
                left += inner.values()
            case list(inner):
                left += inner
            case _:
                found += 1
    return found
