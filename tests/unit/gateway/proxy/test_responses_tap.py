from __future__ import annotations

from functools import partial
from typing import Any

import orjson
import pytest

from gateway.proxy.rename import rename
from gateway.proxy.responses_tap import ResponsesTap, note_whole_response
from shared.bus.channels import AccessRecord
from shared.formats.responses.settings import DEFAULTS, with_settings
from shared.formats.sse import events_in
from shared.runtime.exact_json import dump_json, load_json
from simulator.spelling import SPELLINGS, respell

CREATED: dict[str, Any] = {
    "type": "response.created",
    "response": {"id": "resp_1", "object": "response", "model": "gpt-x", "tools": []},
}
MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "content": [{"type": "output_text", "text": 'say "type":"error"'}],
}
CALL = {"type": "function_call", "id": "fc_1", "name": "f"}
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
}
DELTA = {"type": "response.output_text.delta", "delta": 'never "type":"response.completed"'}
LIMITS = {"type": "codex.rate_limits"}


def done(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def completed(**response: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"id": "resp_1", "usage": USAGE} | response}


def frame(payload: dict[str, Any], line_end: bytes = b"\n") -> bytes:
    lines = [b"event: " + payload["type"].encode(), b"data: " + orjson.dumps(payload), b"", b""]
    return line_end.join(lines)


STREAM = [LIMITS, CREATED, DELTA, done(1, CALL), done(0, MESSAGE), completed(output=[])]


def payloads(data: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(line[5:]) for line in data.splitlines() if line.startswith(b"data:")]


NOW = 1_800_000_000.5


def run(*chunks: bytes, untouched: bool = False) -> tuple[ResponsesTap, bytes]:
    tap = ResponsesTap(AccessRecord("req_1", 0.0), untouched=untouched, clock=lambda: NOW)
    return tap, b"".join([*map(tap.feed, chunks), tap.end()])


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_an_empty_output_is_filled_from_the_items(line_end: bytes) -> None:
    tap, sent = run(b"".join(frame(event, line_end) for event in STREAM))
    assert tap.finished
    assert tap.failed is None
    last = payloads(sent)[-1]["response"]
    assert last == tap.response
    assert last["output"] == [MESSAGE, CALL]
    assert (last["object"], last["model"], last["status"]) == ("response", "gpt-x", "completed")


def test_all_other_bytes_are_the_providers() -> None:
    _, sent = run(*map(frame, STREAM))
    kept = b"".join(map(frame, STREAM[2:-1]))
    assert kept in sent
    assert b"codex.rate_limits" not in sent


def test_every_response_in_an_event_has_the_settings_of_the_standard() -> None:
    queued = {"type": "response.queued", "response": CREATED["response"] | {"store": True}}
    _, sent = run(*map(frame, [queued, *STREAM]))
    responses = [payload["response"] for payload in payloads(sent) if "response" in payload]
    assert [response.keys() >= DEFAULTS.keys() for response in responses] == [True] * 3
    assert [response["store"] for response in responses] == [True, False, False]
    assert [response["completed_at"] for response in responses] == [None, None, int(NOW)]


def test_a_number_beyond_64_bits_in_a_response_stays_exact() -> None:
    big = 2**70 + 1
    _, sent = run(
        *map(frame, [CREATED]),
        frame(completed())
        .replace(b'"input_tokens": 100', b"")
        .replace(b'"id":"resp_1"', b'"id":"resp_1","x":%d' % big),
    )
    assert b'"x":%d' % big in sent


def test_a_client_that_knows_the_backend_gets_every_byte() -> None:
    stream = b"".join(map(frame, STREAM))
    tap, sent = run(stream, untouched=True)
    assert sent == stream
    assert tap.response["output"] == [MESSAGE, CALL]


def test_a_response_that_was_told_whole_is_left_alone() -> None:
    created = CREATED | {"response": with_settings(CREATED["response"])}
    whole = with_settings(
        {"object": "response", "status": "completed", "output": [MESSAGE]}, now=1.0
    )
    stream = [created, done(0, MESSAGE), completed(**whole)]
    _, sent = run(*map(frame, stream))
    assert sent == b"".join(map(frame, stream))


def test_it_does_not_matter_where_the_network_cuts() -> None:
    stream = b"".join(map(frame, STREAM))
    _, whole = run(stream)
    for at in range(1, len(stream)):
        assert run(stream[:at], stream[at:])[1] == whole


@pytest.mark.parametrize("number", range(len(SPELLINGS)))
def test_every_spelling_of_a_stream_is_understood(number: int) -> None:
    stream = b"".join(respell(frame(event), number) for event in STREAM)
    _, wanted = run(b"".join(map(frame, STREAM)))
    for at in (1, len(stream) // 3, len(stream) // 2, len(stream) - 1):
        tap, _ = run(stream[:at], stream[at:])
        assert tap.finished
        assert tap.response == payloads(wanted)[-1]["response"]
        assert run(stream[:at], stream[at:], untouched=True)[1] == stream


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "response.created", "response": [1]},
        {"type": "response.output_item.done", "output_index": "x", "item": 7},
        {
            "type": "response.completed",
            "response": {"usage": 7, "output": 3, "incomplete_details": "x"},
        },
        {"type": "response.failed", "response": {"error": "x"}},
        {"type": "response.completed", "response": {"output": [1], "usage": {"input_tokens": "9"}}},
    ],
)
def test_an_event_of_an_odd_shape_costs_the_client_nothing(payload: dict[str, Any]) -> None:
    odd = frame(payload)
    _, sent = run(odd, frame(CREATED), frame(completed(output=[])), untouched=True)
    assert sent == odd + frame(CREATED) + frame(completed(output=[]))


def test_two_items_of_one_index_are_both_kept() -> None:
    second = MESSAGE | {"id": "msg_2"}
    tap, _ = run(
        *map(
            frame,
            [CREATED, done(0, MESSAGE), done(0, second), done(0, MESSAGE), completed(output=[])],
        )
    )
    assert sorted(item["id"] for item in tap.response["output"]) == sorted([MESSAGE["id"], "msg_2"])


def test_only_whole_events_go_on() -> None:
    tap = ResponsesTap(AccessRecord("req_1", 0.0), untouched=False)
    data = frame(DELTA)
    assert tap.feed(data[:-1]) == b""
    assert tap.feed(data[-1:]) == data


def test_a_last_event_without_its_blank_line_counts() -> None:
    tap, _ = run(frame(CREATED), frame(completed(output=[])).rstrip())
    assert tap.finished


def test_usage_and_the_end_are_noted() -> None:
    tap, _ = run(*map(frame, STREAM))
    record = tap.record
    assert (record.tokens_input, record.cache_read_tokens, record.cache_write_tokens) == (
        30,
        60,
        10,
    )
    assert (record.tokens_output, record.reasoning_tokens) == (20, 5)
    assert (record.model, record.stop_reason) == ("gpt-x", "tool_use")


@pytest.mark.parametrize(
    ("reason", "stop"), [("max_output_tokens", "max_tokens"), ("content_filter", "refusal")]
)
def test_an_incomplete_response_is_finished(reason: str, stop: str) -> None:
    response = {"object": "response", "incomplete_details": {"reason": reason}, "output": [MESSAGE]}
    tap, _ = run(frame({"type": "response.incomplete", "response": response}))
    assert (tap.finished, tap.failed, tap.record.stop_reason) == (True, None, stop)


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        (
            {
                "type": "response.failed",
                "response": {"error": {"code": "rate_limit_exceeded", "message": "m"}},
            },
            429,
            1,
        ),
        (
            {"type": "response.failed", "response": {"error": {"code": "context_length_exceeded"}}},
            400,
            1,
        ),
        ({"type": "response.cancelled", "response": {}}, 502, 0),
        ({"type": "error", "code": "server_is_overloaded", "message": "m"}, 503, 1),
    ],
)
def test_a_failure_ends_it_with_its_status(event: dict[str, Any], status: int, code: int) -> None:
    tap, sent = run(frame(CREATED), frame(event))
    assert tap.finished
    assert tap.failed
    assert tap.failed.status == status
    assert bool(tap.failed.code) == bool(code)
    assert payloads(sent)[-1]["type"] == event["type"]


def test_a_stream_that_just_stops_is_not_finished() -> None:
    tap, _ = run(*map(frame, STREAM[:-1]))
    assert not tap.finished


def test_what_is_no_json_passes() -> None:
    odd = b'data: {"type":"error" nonsense\n\n: comment\n\n'
    tap, sent = run(odd)
    assert (sent, tap.finished) == (odd, False)


def test_a_whole_reply_is_noted_as_it_came() -> None:
    record = AccessRecord("req_1", 0.0)
    note_whole_response(
        record, orjson.dumps({"object": "response", "model": "m", "usage": USAGE, "output": []})
    )
    assert (record.tokens_output, record.stop_reason) == (20, "end_turn")
    note_whole_response(record, b'{"error":{"message":"no","code":"c"}}')
    assert (record.error_kind, record.error_message) == ("c", "no")
    note_whole_response(record, b"<html>")
    note_whole_response(record, b"[]")


def test_every_event_that_names_the_model_names_it_as_the_client_did() -> None:
    naming = partial(rename, answered="gpt-x", asked="fast")
    tap = ResponsesTap(AccessRecord("req_1", 0.0), untouched=False, naming=naming)
    created = CREATED["response"]
    in_progress = {"type": "response.in_progress", "response": created}
    sent = tap.feed(
        b"".join(frame(event) for event in (CREATED, in_progress, DELTA, completed(output=[])))
    )
    assert [told["response"]["model"] for told in payloads(sent) if "response" in told] == [
        "fast"
    ] * 3
    assert tap.record.model == "gpt-x"


def test_a_tap_has_begun_with_the_first_whole_event() -> None:
    tap = ResponsesTap(AccessRecord("r", 0.0), untouched=False)
    created = frame(CREATED)
    begun = []
    for chunk in (b": waiting\n\n", created[:20], created[20:], frame(DELTA)):
        tap.feed(chunk)
        begun.append(tap.begun)
    assert begun == [False, False, True, True]


@pytest.mark.parametrize(
    ("named", "tier"), [("default", ""), ("auto", ""), (None, ""), ("priority", "priority")]
)
def test_the_service_tier_is_the_one_of_the_finished_response(named: object, tier: str) -> None:
    tap, _ = run(frame(CREATED), frame(completed(output=[MESSAGE], service_tier=named)))
    assert tap.record.service_tier == tier


@pytest.mark.parametrize("kind", [["error"], {"error": 1}, 7, None])
@pytest.mark.parametrize("untouched", [True, False])
def test_an_event_whose_type_is_no_text_passes_as_it_came(kind: Any, untouched: bool) -> None:
    data = b"data: %b\n\n" % orjson.dumps({"type": kind, "mark": ["error"]})
    tap = ResponsesTap(AccessRecord("r", 0.0), untouched=untouched)
    assert tap.feed(data) + tap.end() == data
    assert not tap.finished


@pytest.mark.parametrize("kind", ["\ud800", ":", "a\ndata: injected", "a\r\nid: 7"])
def test_an_event_stays_one_event_whatever_its_type(kind: str) -> None:
    data = b"data: %b\n\n" % dump_json({"type": kind, "response": {"error": None}})
    tap = ResponsesTap(AccessRecord("r", 0.0), untouched=False)
    (event,) = events_in(tap.feed(data) + tap.end())
    assert load_json(event.data)["type"] == kind
    assert event.id is None
