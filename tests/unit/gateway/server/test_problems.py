"""Every kind of error in every dialect."""

from __future__ import annotations

import orjson
import pytest

from gateway.server.problems import Dialect, dialect_of, error_frame, render_error
from sdk_worker.frames import error_envelope
from shared.formats.messages.errors import error_type
from shared.formats.sse import Parser
from shared.runtime.errors import (
    Busy,
    CCProxyError,
    ClientError,
    Conflict,
    QuotaReached,
    Stopping,
    ThreadNotFound,
    UpstreamRefused,
)


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/api/v1/messages", "anthropic"),
        ("/api/v1/nothing", "anthropic"),
        ("/sdk/s1/v1/messages", "anthropic"),
        ("/api/v1/chat/completions", "openai_chat"),
        ("/codex/v1/responses", "openai_responses"),
        ("/codex/v1/messages", "anthropic"),
        ("/codex/models", "openai_responses"),
        ("/health", "plain"),
        ("/", "plain"),
    ],
)
def test_a_path_tells_the_dialect_its_clients_read(path: str, dialect: Dialect) -> None:
    assert dialect_of(path) == dialect


def test_anthropic_s_envelope_carries_type_message_and_id() -> None:
    problem = render_error(ClientError("model: missing"), "anthropic", "req_1")
    assert orjson.loads(problem.body) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "model: missing"},
        "request_id": "req_1",
    }


def test_a_thread_that_is_not_kept_is_told_by_the_code_clients_act_on() -> None:
    problem = render_error(ThreadNotFound(), "anthropic", "req_1")
    error = orjson.loads(problem.body)["error"]
    assert (problem.status, error["type"], error["details"]) == (
        404, "not_found_error", {"error_code": "thread_not_found"}
    )  # fmt: skip


def test_openai_s_envelope_has_all_four_keys() -> None:
    error = orjson.loads(render_error(Busy(headers={"retry-after": "2"}), "openai_chat", "r").body)[
        "error"
    ]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "rate_limit_error"


def test_our_own_headers_go_out_with_the_error() -> None:
    assert (b"retry-after", b"2") in render_error(
        Busy(headers={"Retry-After": "2"}), "anthropic", "r"
    ).headers


def test_a_provider_s_refusal_passes_word_for_word() -> None:
    refused = UpstreamRefused(
        status=529, body=b'{"type":"error","error":{"type":"overloaded_error"}}'
    )
    problem = render_error(refused, "anthropic", "r")
    assert (problem.status, problem.body) == (529, refused.body)
    assert (
        error_frame(refused, "anthropic", "r") == b"event: error\ndata: " + refused.body + b"\n\n"
    )


ANTHROPICS = b'{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."}}'


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses"])
def test_a_refusal_in_anthropic_s_envelope_reaches_an_openai_client_in_its_own(
    dialect: Dialect,
) -> None:
    refused = UpstreamRefused(status=429, body=ANTHROPICS, headers={"retry-after": "3"})
    problem = render_error(refused, dialect, "r")
    assert (problem.status, orjson.loads(problem.body)["error"]) == (
        429,
        {"message": "Slow down.", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    )  # fmt: skip
    assert (b"retry-after", b"3") in problem.headers
    late = orjson.loads(error_frame(refused, dialect, "r").split(b"data: ")[1])
    assert late.get("error", late)["message"] == "Slow down."
    assert late.get("error", late)["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("cls", [Busy, CCProxyError, ClientError, Stopping, Conflict, QuotaReached])
def test_an_error_has_one_type_wherever_it_is_told(cls: type[CCProxyError]) -> None:
    error = cls()
    whole = orjson.loads(render_error(error, "anthropic", "r").body)["error"]["type"]
    late = orjson.loads(error_frame(error, "anthropic", "r").split(b"data: ")[1])["error"]["type"]
    from_worker = orjson.loads(error_envelope(error.status, "m"))["error"]["type"]
    assert whole == late == from_worker == error_type(error.status)


@pytest.mark.parametrize("dialect", ["anthropic", "openai_chat", "openai_responses"])
def test_a_late_error_is_one_event_of_the_stream(dialect: Dialect) -> None:
    frame = error_frame(CCProxyError("It\nbroke."), dialect, "r")
    assert frame.endswith(b"\n\n")
    assert frame.count(b"\n\n") == 1
    named = frame.startswith(b"event: error\n")
    assert named is (dialect != "openai_chat")
    assert b"It\\nbroke." in frame


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\r\r"])
def test_a_refusal_with_any_line_end_in_its_body_is_one_late_event(end: bytes) -> None:
    body = b'{"type":"error",' + end + b'"error":{"type":"overloaded_error"}}'
    frame = error_frame(UpstreamRefused(status=529, body=body), "anthropic", "r")
    (event,) = Parser().feed(frame)
    assert event.name == "error"
    assert orjson.loads(event.data) == orjson.loads(body)
