"""A Messages stream as clients read it; the official accumulator's rules, and the whole reply
beside it.
"""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic

from shared.formats import messages
from shared.formats.envelope import PREFIX, unwrap
from shared.formats.fold import fold, unfold
from shared.formats.ir import (
    Citation,
    Cite,
    Close,
    Delta,
    Event,
    Fail,
    Opaque,
    Open,
    Ping,
    Prompt,
    Refusal,
    Reply,
    Seal,
    Start,
    Stop,
    StopReason,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from shared.formats.messages.stream_in import Reader
from shared.formats.messages.stream_out import Writer, write_reply
from shared.formats.sse import encode_event
from tests.support import format_laws

PROMPT = Prompt("m")


def write(*events: Event) -> list[dict[str, Any]]:
    writer = Writer(PROMPT, id="1", created=0, model="asked")
    frames = [frame for event in events for frame in writer.feed(event)]
    for frame in frames:
        assert isinstance(frame.data, dict)
        assert frame.name == frame.data["type"], "the event's name is its type"
    return [frame.data for frame in frames if isinstance(frame.data, dict)]


def test_a_whole_stream_event_by_event() -> None:
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }
    events = [Start("resp_9", "", Usage(3)), Open(Text("")), Delta("a"), Ping(), Close()]
    assert write(*events, Stop(StopReason.STOP_SEQUENCE, Usage(3, output=2), "END")) == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "asked",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": usage,
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
        {"type": "ping"},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"},
            "usage": usage | {"output_tokens": 2},
        },
        {"type": "message_stop"},
    ]


def test_blocks_are_numbered_without_gaps_and_foreign_ones_leave_no_trace() -> None:
    frames = write(
        Open(Opaque("openai", {"type": "file_search_call"})),
        Close(),
        Open(Text("")),
        Close(),
        Open(Opaque("anthropic", {"type": "server_tool_use"})),
        Close(),
    )
    assert [(frame["type"], frame["index"]) for frame in frames] == [
        ("content_block_start", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_stop", 1),
    ]


def test_foreign_reasoning_travels_in_an_envelope_and_is_never_an_anthropic_signature() -> None:
    frames = write(
        Open(Thinking(vendor="openai")), Delta("summary"), Seal("enc", "openai", "rs_1"), Close()
    )
    signature = frames[2]["delta"]["signature"]
    assert signature.startswith(PREFIX)
    assert unwrap(signature) == Thinking("", "enc", "openai", "rs_1")
    unsigned = write(Open(Thinking()), Delta("x"), Close())
    assert all("signature" not in frame.get("delta", {}) for frame in unsigned)


def test_a_redacted_block_keeps_its_data() -> None:
    frames = write(Open(Thinking(signature="d", vendor="anthropic", redacted=True)), Close())
    assert frames[0]["content_block"] == {"type": "redacted_thinking", "data": "d"}


def test_a_custom_call_is_told_as_one_object_when_it_is_whole() -> None:
    call = ToolCall("1", "apply_patch", kind="custom")
    frames = write(Open(call), Delta("a"), Delta('"b'), Close())
    assert [frame["type"] for frame in frames] == [
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
    ]
    assert frames[1]["delta"] == {"type": "input_json_delta", "partial_json": '{"input":"a\\"b"}'}


def test_a_refusal_is_text_and_its_explanation_a_detail() -> None:
    frames = write(
        Open(Refusal("")),
        Delta("no"),
        Close(),
        Stop(StopReason.REFUSAL, explanation="why", category="bio"),
    )
    assert frames[1]["delta"] == {"type": "text_delta", "text": "no"}
    assert frames[3]["delta"]["stop_details"] == {
        "type": "refusal",
        "category": "bio",
        "explanation": "why",
    }


def test_a_failure_is_an_error_event_and_nothing_else() -> None:
    assert write(Fail("Slow down.", 429, "rate_limit_exceeded")) == [
        {
            "type": "error",
            "error": {
                "type": "rate_limit_error",
                "message": "Slow down.",
                "details": {"error_code": "rate_limit_exceeded"},
            },
        }
    ]


@pytest.mark.parametrize("reason", StopReason)
def test_every_stop_reason_has_a_name(reason: StopReason) -> None:
    assert isinstance(write(Stop(reason))[0]["delta"]["stop_reason"], str)


def test_a_foreign_citation_becomes_a_web_one() -> None:
    frames = write(Open(Text("")), Cite(Citation("https://example.com", "T", 0, 3)), Close())
    assert frames[1]["delta"]["citation"]["url"] == "https://example.com"


def test_a_whole_reply() -> None:
    cited = Citation("https://example.com", "T")
    reply = Reply(
        "resp_1",
        "gpt",
        (
            Thinking("hm", "enc", "openai", "rs_1"),
            Text("see"),
            Text("there", (cited,)),
            ToolCall("call_1", "f", ""),
            Opaque("openai", {}),
        ),
        Stop(StopReason.TOOL_USE, Usage(1, 2, 3, 4, 2), service_tier="default"),
    )
    message = write_reply(PROMPT, reply, id="1", created=0, model="asked")
    assert (message["id"], message["model"], message["stop_reason"]) == ("msg_1", "gpt", "tool_use")
    assert [block["type"] for block in message["content"]] == [
        "thinking",
        "text",
        "text",
        "tool_use",
    ]
    assert message["content"][3] == {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}
    assert message["usage"] == {
        "input_tokens": 1,
        "cache_read_input_tokens": 2,
        "cache_creation_input_tokens": 3,
        "output_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 2},
        "service_tier": "standard",
    }


def test_sealed_reasoning_survives_being_written_and_read() -> None:
    events = [
        Start("1", "m"),
        Open(Thinking(vendor="openai")),
        Delta("x"),
        Seal("enc", "openai", "rs_1"),
        Close(),
        Stop(),
    ]
    reader = Reader(PROMPT)
    told = fold(event for payload in write(*events) for event in reader.feed(payload))
    assert isinstance(told, Reply)
    assert told.parts == (Thinking("x", "enc", "openai", "rs_1"),)


def test_the_official_client_puts_the_stream_together_as_the_whole_reply() -> None:
    parts = (
        Thinking("hm", "sig", "anthropic"),
        Text("see", (Citation("https://example.com", "T"),)),
        ToolCall("toolu_1", "f", '{"a":1}'),
        ToolCall("toolu_2", "g", ""),
    )
    reply = Reply("1", "m", parts, Stop(StopReason.TOOL_USE, Usage(1, 2, 3, 4, 2)))
    writer = Writer(PROMPT, id="1", created=0, model="m")
    wire = b"".join(
        encode_event(frame.name, json.dumps(frame.data).encode())
        for event in unfold(reply)
        for frame in writer.feed(event)
    )
    answer = httpx2.Response(200, content=wire, headers={"content-type": "text/event-stream"})
    transport = httpx2.MockTransport(lambda request: answer)
    with (
        httpx2.Client(transport=transport) as http,
        Anthropic(api_key="k", base_url="http://127.0.0.1", http_client=http) as client,
        client.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
        ) as stream,
    ):
        message = stream.get_final_message().to_dict()
    whole = write_reply(PROMPT, reply, id="1", created=0, model="m")
    assert {name: message[name] for name in whole} == whole


def test_a_search_another_vendor_ran_is_shown_as_anthropics_own_streamed_and_whole() -> None:
    call = {
        "type": "web_search_call",
        "id": "ws-1",
        "action": {"query": "q", "sources": [{"url": "https://a.test"}]},
    }
    reply = Reply("r", "m", (Opaque("openai", call), Text("found")), Stop(StopReason.END_TURN))
    streamed = format_laws.assemble("anthropic", format_laws.written_for(messages, unfold(reply)))
    assert streamed == messages.write_reply(PROMPT, reply, **format_laws.NAMES)
    used, found, text = streamed["content"]
    assert used["input"] == {"query": "q"}
    assert found["tool_use_id"] == used["id"] == "srvtoolu_ccpx1_ws_1"
    assert found["content"][0]["url"] == "https://a.test"
    assert text["text"] == "found"
    assert streamed["usage"]["server_tool_use"]["web_search_requests"] == 1


def test_an_image_that_a_model_made_is_told_in_words_streamed_and_whole() -> None:
    call = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AAAA"}
    reply = Reply("r", "m", (Opaque("openai", call), Text("found")), Stop(StopReason.END_TURN))
    streamed = format_laws.assemble("anthropic", format_laws.written_for(messages, unfold(reply)))
    assert streamed == messages.write_reply(PROMPT, reply, **format_laws.NAMES)
    told, text = streamed["content"]
    assert "made an image" in told["text"]
    assert text["text"] == "found"
