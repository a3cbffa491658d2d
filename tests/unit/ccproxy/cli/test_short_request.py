"""One short request through a stack, as a client sends it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from ccproxy.cli.exits import FAILED, TRY_LATER
from ccproxy.cli.gateway import Unanswered
from ccproxy.cli.short_request import ShortReply, ask_model

READY: dict[str, Any] = {
    "content": [{"type": "thinking", "thinking": "?"}, {"type": "text", "text": " ready "}],
    "usage": {
        "input_tokens": 3,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 5,
        "output_tokens": 2,
    },
}


def client(status: int, body: Any, **headers: str) -> httpx.Client:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/codex/v1/messages"
        assert json.loads(request.content)["model"] == "gpt-x"
        return httpx.Response(status, json=body, headers=headers)

    return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://stack")


def test_a_reply_has_its_text_its_model_and_all_tokens_of_the_prompt() -> None:
    reply = ask_model(client(200, READY), "codex", "gpt-x")
    assert reply == ShortReply("ready", "gpt-x", reply.seconds, 12, 4, 2, "")


def test_the_model_and_the_payer_are_those_that_the_stack_names() -> None:
    told = {"x-ccproxy-model": "gpt-y", "x-ccproxy-billed-to": "subscription"}
    reply = ask_model(client(200, READY, **told), "codex", "gpt-x")
    assert (reply.model, reply.billed_to) == ("gpt-y", "subscription")


@pytest.mark.parametrize(("status", "code"), [(429, FAILED), (502, TRY_LATER), (503, TRY_LATER)])
def test_a_refusal_keeps_its_words_and_a_provider_that_is_away_is_for_later(
    status: int, code: int
) -> None:
    with pytest.raises(Unanswered, match="Not today") as raised:
        ask_model(client(status, {"error": {"message": "Not today"}}), "codex", "gpt-x")
    assert raised.value.exit_code == code


@pytest.mark.parametrize(
    "body", [{}, [], {"content": 5}, {"content": [], "usage": None}, {"content": ["x"]}]
)
def test_a_reply_of_another_form_is_refused(body: Any) -> None:
    with pytest.raises(Unanswered, match="no message"):
        ask_model(client(200, body), "codex", "gpt-x")
