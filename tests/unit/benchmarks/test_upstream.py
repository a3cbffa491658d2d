"""The provider of the measurements: one reply for each format and kind."""

from __future__ import annotations

import json

import pytest

from benchmarks.upstream import CHAT_COMPLETIONS, MESSAGES, RESPONSES, Provider, format_of


class Written:
    """What a provider has written."""

    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += data


@pytest.fixture
def asked():
    provider, written = Provider(), Written()
    provider.connection_made(written)

    def ask(*pieces):
        for piece in pieces:
            provider.data_received(piece)
        data, written.data = written.data, b""
        return data

    return ask


def request(path, body, head="content-length: {}"):
    return f"POST {path} HTTP/1.1\r\n{head.format(len(body))}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("path", "replies"),
    [
        ("/v1/messages?beta=true", MESSAGES),
        ("/v1/chat/completions", CHAT_COMPLETIONS),
        ("/backend-api/codex/responses", RESPONSES),
    ],
)
def test_the_path_picks_the_format(path, replies):
    assert format_of(f"POST {path} HTTP/1.1".encode()) is replies


def test_a_whole_answer_is_json_and_one_that_is_streamed_has_events(asked):
    whole = asked(request("/v1/messages", b'{"model": "bench-whole"}'))
    assert json.loads(whole.partition(b"\r\n\r\n")[2])["stop_reason"] == "end_turn"
    for stream in (b'"stream":true', b'"stream": true'):
        streamed = asked(request("/v1/messages", b'{"model": "bench-whole", %s}' % stream))
        assert b"event: message_stop" in streamed


def test_a_burst_has_all_its_tokens(asked):
    for path, mark in (
        ("/v1/messages", b"text_delta"),
        ("/v1/chat/completions", b'"content": "word'),
        ("/v1/responses", b"event: response.output_text.delta"),
    ):
        assert asked(request(path, b'{"model": "bench-burst"}')).count(mark) == 200


def test_a_request_is_answered_when_its_last_byte_came(asked):
    whole = request("/v1/messages", b'{"model": "bench-whole"}')
    assert asked(whole[:-1]) == b""
    assert asked(whole[-1:]).startswith(b"HTTP/1.1 200")
    assert asked(whole + whole).count(b"HTTP/1.1 200") == 2


def test_a_request_in_chunks_is_answered_at_its_last_chunk(asked):
    head = request("/v1/messages", b"", "transfer-encoding: chunked")
    assert asked(head, b'18\r\n{"model": "bench-whole"}') == b""
    assert asked(b"\r\n0\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_the_model_is_found_at_either_end_of_a_long_body(asked):
    text = b'"' + b"word " * 4_000 + b'"'
    for body in (
        b'{"model": "bench-burst", "text": %s}' % text,
        b'{"text": %s, "model": "bench-burst"}' % text,
    ):
        assert asked(request("/v1/messages", body)).count(b"text_delta") == 200
