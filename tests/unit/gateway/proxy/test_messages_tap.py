"""A tap hands on whole events, changes no byte, and reads the same usage however the stream was
cut.
"""

from __future__ import annotations

import json

import pytest

from gateway.proxy.messages_tap import MessagesTap, note_whole_message
from shared.bus.channels import AccessRecord
from shared.formats.sse import last_boundary, split_events
from simulator.spelling import SPELLINGS, respell
from tests.unit.gateway.conftest import DELTA, END, START, frame

STREAM = START + frame("ping", '{"type": "ping"}') + DELTA + END


def read(chunks: list[bytes]) -> tuple[AccessRecord, MessagesTap, list[bytes]]:
    record = AccessRecord("r", 0.0)
    tap = MessagesTap(record)
    out = [tap.feed(chunk) for chunk in chunks]
    return record, tap, [*out, tap.end()]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_wherever_a_stream_is_cut_the_same_is_read_and_the_same_leaves(ending: bytes) -> None:
    stream = STREAM.replace(b"\n", ending)
    for cut in range(1, len(stream)):
        record, tap, out = read([stream[:cut], stream[cut:]])
        assert b"".join(out) == stream
        assert tap.finished, f"cut at {cut}"
        assert (record.tokens_input, record.tokens_output, record.stop_reason) == (
            3,
            7,
            "end_turn",
        ), f"cut at {cut}"


@pytest.mark.parametrize("number", range(len(SPELLINGS)))
def test_every_spelling_of_a_stream_is_understood_and_unchanged(number: int) -> None:
    stream = b"".join(respell(event, number) for event in split_events(STREAM))
    for cut in range(1, len(stream)):
        record, tap, out = read([stream[:cut], stream[cut:]])
        assert b"".join(out) == stream
        assert tap.finished, f"cut at {cut}"
        assert (record.tokens_input, record.tokens_output, record.stop_reason) == (
            3,
            7,
            "end_turn",
        ), f"cut at {cut}"


MISS = (
    '"diagnostics": {"cache_miss_reason": {"type": "tools_changed", "cache_missed_input_tokens": '
    "321}}"
)


@pytest.mark.parametrize(
    "told",
    [
        frame(
            "message_start", '{"type": "message_start", "message": {"model": "m", ' + MISS + "}}"
        ),
        frame("message_delta", '{"type": "message_delta", "delta": {}, ' + MISS + "}"),
        frame("message_delta", '{"type": "message_delta", "delta": {' + MISS + "}}"),
    ],
)
def test_the_reason_of_a_cache_miss_is_kept_from_a_stream(told: bytes) -> None:
    record, _, out = read([told + END])
    assert record.cache_miss_reason == "tools_changed"
    assert b"".join(out) == told + END


@pytest.mark.parametrize(
    ("diagnostics", "reason"),
    [
        ('{"cache_miss_reason": {"type": "system_changed"}}', "system_changed"),
        ('{"cache_miss_reason": null}', ""),
        ('{"cache_miss_reason": "odd"}', ""),
        ('{"cache_miss_reason": {"type": 7}}', ""),
        ("null", ""),
        ("[]", ""),
    ],
)
def test_the_reason_of_a_cache_miss_is_kept_from_a_whole_reply(
    diagnostics: str, reason: str
) -> None:
    record = AccessRecord("r", 0.0)
    note_whole_message(record, b'{"type": "message", "diagnostics": %b}' % diagnostics.encode())
    assert record.cache_miss_reason == reason


ODD = [
    "[1]",
    "null",
    '"x"',
    "1",
    "{",
    '{"type":"message_delta","usage":"many","delta":[1]}',
    '{"message":[],"usage":7}',
]


@pytest.mark.parametrize(
    "data", [*ODD, '{"usage":{"input_tokens":"3","output_tokens":-1,"cache_creation":[]}}']
)
@pytest.mark.parametrize("name", ["message_start", "message_delta", "error"])
def test_an_event_of_an_odd_shape_costs_the_client_nothing(name: str, data: str) -> None:
    odd = frame(name, data)
    record, tap, out = read([odd + START + DELTA + END])
    assert b"".join(out) == odd + START + DELTA + END
    assert tap.finished
    assert record.tokens_output == 7


def test_an_unfinished_event_is_held_back() -> None:
    _, tap, out = read([STREAM[:-30]])
    assert out[0].endswith(b"\n\n")
    assert not tap.finished


def test_a_last_event_without_its_blank_line_counts() -> None:
    _, tap, out = read([STREAM[:-2]])
    assert tap.finished
    assert b"".join(out) == STREAM[:-2]


def test_words_inside_a_text_are_not_events() -> None:
    text = frame(
        "content_block_delta", '{"delta":{"text":"event: message_stop\\n\\nevent: error"}}'
    )
    _, tap, _ = read([text])
    assert not tap.finished


def test_an_error_event_ends_the_stream_and_names_its_kind() -> None:
    error = frame("error", '{"type":"error","error":{"type":"overloaded_error","message":"Busy."}}')
    record, tap, _ = read([START + error])
    assert tap.finished
    assert (record.error_kind, record.error_message) == ("overloaded_error", "Busy.")


def test_later_usage_replaces_earlier_and_keeps_what_it_does_not_name() -> None:
    start = (
        '{"message":{"usage":{"input_tokens":5,"cache_read_input_tokens":90,"output_tokens":1}}}'
    )
    delta = '{"usage":{"output_tokens":40,"output_tokens_details":{"thinking_tokens":12}}}'
    record, _, _ = read([frame("message_start", start) + frame("message_delta", delta)])
    assert (record.tokens_input, record.cache_read_tokens, record.tokens_output) == (5, 90, 40)
    assert record.reasoning_tokens == 12


def test_a_frame_that_is_not_json_is_none_of_our_business() -> None:
    _, tap, out = read([frame("message_delta", "{nope") + END])
    assert tap.finished
    assert b"{nope" in b"".join(out)


@pytest.mark.parametrize("body", [b"", b"[1]", b"<html>", b'{"type":"message"}'])
def test_a_whole_reply_of_any_shape_is_survived(body: bytes) -> None:
    record = AccessRecord("r", 0.0)
    note_whole_message(record, body)
    assert record.tokens_input == 0


def test_a_boundary_is_the_end_of_a_blank_line() -> None:
    assert last_boundary(b"a\n\nb") == 3
    assert last_boundary(b"a\r\n\r\nb") == 5
    assert last_boundary(b"a\n") == 0


def test_a_tap_has_begun_with_the_first_whole_event() -> None:
    tap = MessagesTap(AccessRecord("r", 0.0))
    begun = []
    for chunk in (b": waiting\n\n", START[:20], START[20:], DELTA):
        tap.feed(chunk)
        begun.append(tap.begun)
    assert begun == [False, False, True, True]


# What the usage of a reply names, and the tier in the record.
TIERS = [
    ({}, ""),
    ({"service_tier": "standard"}, ""),
    ({"service_tier": "priority", "speed": "standard"}, "priority"),
    ({"service_tier": "standard", "speed": "fast"}, "fast"),
    ({"service_tier": "x" * 100}, "x" * 40),
    ({"service_tier": 7, "speed": []}, ""),
]


@pytest.mark.parametrize(("named", "tier"), TIERS)
def test_the_service_tier_is_kept_from_a_stream_and_from_a_whole_reply(
    named: dict[str, object], tier: str
) -> None:
    message = {"type": "message", "model": "m", "usage": {"input_tokens": 3} | named}
    start = frame("message_start", json.dumps({"type": "message_start", "message": message}))
    record, _, _ = read([start, DELTA, END])
    assert record.service_tier == tier
    whole = AccessRecord("r", 0.0)
    note_whole_message(whole, json.dumps(message).encode())
    assert whole.service_tier == tier
