"""A captured request once more: a command without a credential, and a request to another model."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from gateway.capture.repeating import LEFT_OUT, as_curl, prepare_again
from shared.captures.capture import Capture, Part, Summary
from shared.runtime.errors import ClientError

FORMATS = {
    "/api/v1/messages": "anthropic",
    "/api/v1/chat/completions": "openai_chat",
    "/codex/v1/messages": "anthropic",
    "/codex/v1/responses": "openai_responses",
    "/codex/responses": "openai_responses",
}


def capture(document: Any, **facts: Any) -> Capture:
    summary = {"path": "/api/v1/messages", "client_format": "anthropic"} | facts
    headers = [
        ["anthropic-version", "2023-06-01"],
        ["anthropic-beta", "a-beta"],
        ["x-api-key", "[removed:credential]"],
        ["user-agent", "tool/1"],
    ]
    return Capture(Summary("req_1", 1.0, **summary), Part(headers, json.dumps(document)))


ASKED = {
    "model": "claude-x",
    "messages": [{"role": "user", "content": "it's \x1b[31m\u202e $HOME `id`"}],
}


def test_a_command_is_ascii_words_with_a_placeholder_for_the_token() -> None:
    command = as_curl(capture(ASKED), "http://127.0.0.1:8000")
    assert command.isascii()
    assert command.isprintable()
    words = shlex.split(command)
    assert words[:2] == ["curl", "http://127.0.0.1:8000/api/v1/messages"]
    assert "x-api-key: $CCPROXY_TOKEN" in words
    assert "anthropic-beta: a-beta" in words
    assert json.loads(words[-1]) == ASKED


def test_a_hostile_header_stays_one_word() -> None:
    hostile = capture(ASKED)
    hostile.request.headers = [["anthropic-beta", "a'; rm -rf ~ #\x1b[2J"]]
    words = shlex.split(as_curl(hostile, "http://127.0.0.1:8000"))
    assert len(words) == 10


def test_a_request_goes_to_another_model_of_the_same_address() -> None:
    prepared = prepare_again(capture(ASKED), "claude-y", "", FORMATS)
    assert prepared.path == "/api/v1/messages"
    assert json.loads(prepared.body) == ASKED | {"model": "claude-y"}
    assert prepared.headers[b"anthropic-beta"] == b"a-beta"
    assert b"x-api-key" not in prepared.headers


@pytest.mark.parametrize("route", ["/codex", "codex", "/codex/v1/messages", "/codex/"])
def test_a_request_goes_to_another_route_in_its_own_format(route: str) -> None:
    assert prepare_again(capture(ASKED), "gpt", route, FORMATS).path == "/codex/v1/messages"


def test_the_address_of_a_session_becomes_the_plain_one() -> None:
    named = capture({"input": "x"}, path="/codex/mine/responses", client_format="openai_responses")
    assert prepare_again(named, "", "", FORMATS).path == "/codex/v1/responses"


@pytest.mark.parametrize(
    "route", ["/sdk", "/captures", "/codex/v1/responses", "http://example.test"]
)
def test_an_address_that_does_not_take_the_format_is_refused(route: str) -> None:
    with pytest.raises(ClientError, match="route"):
        prepare_again(capture(ASKED), "", route, FORMATS)


def test_a_request_of_another_kind_cannot_be_sent() -> None:
    with pytest.raises(ClientError, match="this kind"):
        prepare_again(capture(ASKED, client_format="openai_images"), "", "", FORMATS)


@pytest.mark.parametrize("change", ["is_cut", "left_out", "body"])
def test_a_body_that_is_not_whole_is_not_sent(change: str) -> None:
    broken = capture(ASKED)
    setattr(broken.request, change, "no json" if change == "body" else True)
    for use in (lambda: prepare_again(broken, "", "", FORMATS), lambda: as_curl(broken, "")):
        with pytest.raises(ClientError, match="not kept whole"):
            use()


def test_the_answer_is_no_turn_of_the_client_s_conversation() -> None:
    asked = capture(ASKED | {"metadata": {"session_id": "mine", "user_id": "u"}})
    assert json.loads(prepare_again(asked, "", "", FORMATS).body)["metadata"] == {"user_id": "u"}


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (
            {"type": "image", "source": {"type": "base64", "data": "[removed:base64:9 bytes]"}},
            "text",
        ),
        ({"type": "image_url", "image_url": {"url": "data:x,[removed:base64:9 bytes]"}}, "text"),
        ({"type": "input_image", "image_url": "[removed:base64:9 bytes]"}, "input_text"),
    ],
)
def test_a_file_that_was_left_out_becomes_a_sentence(part: Any, kind: str) -> None:
    asked = capture({"messages": [{"content": [part, {"type": "image", "source": {"url": "x"}}]}]})
    sent = json.loads(prepare_again(asked, "", "", FORMATS).body)["messages"][0]["content"]
    assert sent == [{"type": kind, "text": LEFT_OUT}, {"type": "image", "source": {"url": "x"}}]
