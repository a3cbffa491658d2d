"""One translated reply: bytes in, bytes out, and its record filled on the way."""

from __future__ import annotations

import orjson

from gateway.proxy.translation import Translation
from shared.bus.channels import AccessRecord
from shared.formats import chat, messages
from shared.formats.ir import Prompt
from shared.runtime.errors import Stopping
from tests.unit.gateway.conftest import DELTA, END, START, frame

BLOCK = frame(
    "content_block_start",
    '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
)
STREAM = START + BLOCK + DELTA + END


def translation(stream: bool = True) -> Translation:
    prompt = Prompt("asked-for", stream=stream, include_usage=True)
    return Translation(chat, messages, prompt, AccessRecord("r", 0.0), "tok", 7, {})


def test_the_frames_of_the_end_wait_until_it_is_over() -> None:
    tap = translation()
    before = tap.feed(STREAM)
    assert b'"content":"a"' in before
    assert b"[DONE]" not in before
    assert tap.finished
    assert tap.end().endswith(b"data: [DONE]\n\n")


def test_wherever_the_stream_is_cut_the_client_reads_the_same() -> None:
    whole = translation()
    expected = whole.feed(STREAM) + whole.end()
    for cut in range(1, len(STREAM)):
        tap = translation()
        assert tap.feed(STREAM[:cut]) + tap.feed(STREAM[cut:]) + tap.end() == expected, (
            f"cut at {cut}"
        )


def test_the_record_is_filled_from_the_events() -> None:
    tap = translation()
    tap.feed(STREAM)
    record = tap.record
    assert (record.model, record.tokens_input, record.tokens_output) == ("claude-x", 3, 7)
    assert record.stop_reason == "end_turn"


def test_the_service_tier_of_a_translated_reply_is_in_the_record() -> None:
    tap = translation()
    tap.feed(STREAM.replace(b'"output_tokens":7', b'"output_tokens":7,"service_tier":"priority"'))
    assert tap.record.service_tier == "priority"


def test_the_client_reads_the_name_it_asked_for() -> None:
    tap = translation(stream=False)
    assert tap.feed(STREAM) + tap.end() == b""
    reply = tap.write_whole()
    assert (reply["model"], reply["choices"][0]["message"]["content"]) == ("asked-for", "a")


def test_a_failure_of_ours_ends_the_stream_without_a_clean_end() -> None:
    tap = translation()
    tap.feed(START + BLOCK + DELTA)
    last = tap.fail(Stopping())
    assert b"shutting down" in last
    assert b"[DONE]" not in last
    assert b'"finish_reason":"stop"' not in last


def test_a_stream_that_breaks_off_is_a_failure() -> None:
    tap = translation()
    tap.feed(START + BLOCK + DELTA)
    last = tap.end()
    assert tap.failed is not None
    assert (
        "error" in orjson.loads(last.partition(b"data: ")[2].partition(b"\n")[0] or b"{}")
        or b'"error"' in last
    )
    assert tap.record.error_kind


def test_lines_that_are_no_json_are_passed_over() -> None:
    tap = translation()
    tap.feed(b"data: [DONE]\n\n" + STREAM)
    assert tap.failed is None


def test_a_translation_has_begun_with_the_first_whole_event() -> None:
    reply = translation()
    begun = []
    for chunk in (b": waiting\n\n", START[:20], START[20:], DELTA):
        reply.feed(chunk)
        begun.append(reply.begun)
    assert begun == [False, False, True, True]


def test_the_frames_of_the_end_leave_once() -> None:
    reply = translation()
    reply.feed(START + BLOCK + DELTA + END)
    assert b"[DONE]" in reply.end()
    assert reply.end() == b""
