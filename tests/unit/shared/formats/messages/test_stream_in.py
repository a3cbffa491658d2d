"""A provider's Messages stream as events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.formats.envelope import wrap
from shared.formats.fold import CUT, WellFormed
from shared.formats.ir import (
    Cite,
    Close,
    Delta,
    Event,
    Fail,
    Opaque,
    Open,
    Ping,
    Prompt,
    Seal,
    Start,
    Stop,
    StopReason,
    Text,
    Thinking,
    Tool,
    ToolCall,
    Usage,
)
from shared.formats.messages.blocks import wire_name
from shared.formats.messages.stream_in import STOP_REASONS, Reader
from shared.formats.property_keys import wire_key
from tests.support.replies import keeps_grammar

PROMPT = Prompt(
    "m",
    tools=(
        Tool("apply_patch", kind="custom"),
        Tool("find", namespace="git"),
        Tool("wetter für"),
        Tool("list", schema={"type": "object", "properties": {"filter[id]": {"type": "string"}}}),
    ),
)
START = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 3}},
}
END = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
    {"type": "message_stop"},
]


def opened(block: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(delta: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def text(text: str, index: int = 0) -> dict[str, Any]:
    return delta({"type": "text_delta", "text": text}, index)


def arguments(text: str, index: int = 0) -> dict[str, Any]:
    return delta({"type": "input_json_delta", "partial_json": text}, index)


def closed(index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def read(*payloads: dict[str, Any]) -> list[Event]:
    reader = WellFormed(Reader(PROMPT))
    return [event for payload in payloads for event in reader.feed(payload)] + [*reader.end()]


def read_block(*payloads: dict[str, Any]) -> list[Event]:
    start, *events, stop = read(START, *payloads, *END)
    assert (start, type(stop)) == (Start("msg_1", "m", Usage(input=3)), Stop)
    return events


def tool(name: str, **extra: Any) -> dict[str, Any]:
    return opened({"type": "tool_use", "id": "toolu_1", "name": name, "input": {}, **extra})


def test_a_text_with_pings_and_events_of_tomorrow_in_between() -> None:
    ping, future = {"type": "ping"}, {"type": "brand_new", "index": 0}
    events = read_block(
        opened({"type": "text", "text": "A"}),
        ping,
        text("b"),
        future,
        text(""),
        text("c"),
        closed(),
    )
    assert events == [Open(Text("")), Delta("A"), Ping(), Delta("b"), Delta("c"), Close()]


def test_thinking_is_sealed_before_it_closes() -> None:
    events = read_block(
        opened({"type": "thinking", "thinking": "", "signature": ""}),
        delta({"type": "thinking_delta", "thinking": "hm"}),
        delta({"type": "signature_delta", "signature": "sig"}),
        closed(),
        opened({"type": "redacted_thinking", "data": "d"}, 1),
        closed(1),
    )
    assert events == [
        Open(Thinking(vendor="anthropic")),
        Delta("hm"),
        Seal("sig", "anthropic"),
        Close(),
        Open(Thinking(signature="d", vendor="anthropic", redacted=True)),
        Close(),
    ]


def test_another_vendors_seal_is_unwrapped() -> None:
    signature = wrap(Thinking("", "encrypted", "openai", "rs_1"))
    events = read_block(
        opened({"type": "thinking", "thinking": "", "signature": signature}), closed()
    )
    assert Seal("encrypted", "openai", "rs_1") in events


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (
            [tool("f"), arguments(""), arguments('{"a"'), arguments(":1}")],
            [Delta('{"a"'), Delta(":1}")],
        ),
        ([tool("f"), arguments("")], []),
        ([tool("f", input={"a": 1})], [Delta('{"a":1}')]),
    ],
)
def test_a_calls_arguments_come_in_deltas_or_with_the_start(
    start: list[dict[str, Any]], told: list[Event]
) -> None:
    assert read_block(*start, closed()) == [Open(ToolCall("toolu_1", "f")), *told, Close()]


def test_a_custom_tools_input_is_unwrapped() -> None:
    events = read_block(
        tool("apply_patch"), arguments('{"input":"*** B'), arguments('egin\\n"}'), closed()
    )
    assert events == [
        Open(ToolCall("toolu_1", "apply_patch", kind="custom")),
        Delta("*** Begin\n"),
        Close(),
    ]
    other = read_block(tool("apply_patch"), arguments('{"patch":"x"}'), closed())
    assert Delta('{"patch":"x"}') in other, "a model that missed the property's name is not lost"


def test_names_that_had_to_change_are_the_clients_again() -> None:
    for wire, name, namespace in [
        ("git__find", "find", "git"),
        (wire_name("wetter für"), "wetter für", ""),
    ]:
        (call, _) = read_block(tool(wire), closed())
        assert isinstance(call, Open)
        assert isinstance(call.part, ToolCall)
        assert (call.part.name, call.part.namespace) == (name, namespace)


def test_a_calls_argument_keys_are_the_clients_again() -> None:
    wire = wire_key("filter[id]")
    events = read_block(
        tool("list"),
        arguments(f'{{"{wire[:5]}'),
        arguments(f'{wire[5:]}":"x'),
        arguments('"}'),
        closed(),
    )
    assert events[1:] == [Delta("{"), Delta('"filter[id]":"x'), Delta('"}'), Close()]
    assert Delta('{"filter[id]":"x"}') in read_block(tool("list", input={wire: "x"}), closed())
    assert Delta('{"other":1}') in read_block(tool("list"), arguments('{"other":1}'), closed())


def test_arguments_that_end_inside_a_key_reach_the_client() -> None:
    events = read_block(tool("list"), arguments('{"filter'), closed())
    assert events[1:] == [Delta("{"), Delta('"filter'), Close()]


def test_a_server_tool_is_told_whole() -> None:
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    events = read_block(opened(block), arguments('{"query":"x"}'), closed())
    assert events == [Open(Opaque("anthropic", block | {"input": {"query": "x"}})), Close()]


def test_citations_keep_their_own_shape() -> None:
    citation = {"type": "web_search_result_location", "url": "https://example.com", "title": "T"}
    events = read_block(
        opened({"type": "text", "text": ""}),
        delta({"type": "citations_delta", "citation": citation}),
        closed(),
    )
    cite = events[1]
    assert isinstance(cite, Cite)
    assert (cite.citation.url, cite.citation.title, cite.citation.data) == (
        "https://example.com",
        "T",
        citation,
    )


def test_blocks_open_at_once_are_told_one_after_another() -> None:
    events = read_block(
        opened({"type": "text", "text": ""}, 0),
        opened({"type": "tool_use", "id": "2", "name": "f", "input": {}}, 1),
        arguments('{"x"', 1),
        text("a", 0),
        arguments(":1}", 1),
        closed(1),
        text("b", 0),
        closed(0),
    )
    assert events == [
        Open(Text("")),
        Delta("a"),
        Delta("b"),
        Close(),
        Open(ToolCall("2", "f")),
        Delta('{"x"'),
        Delta(":1}"),
        Close(),
    ]


def test_usage_is_cumulative_and_later_counts_correct_earlier_ones() -> None:
    start = {
        "type": "message_start",
        "message": {
            "id": "1",
            "model": "m",
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 7},
        },
    }
    usage = {
        "input_tokens": 6,
        "cache_creation_input_tokens": 8,
        "cache_read_input_tokens": None,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
        "service_tier": "priority",
    }
    end = {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": usage}
    stop = read(start, end, END[1])[-1]
    assert stop == Stop(StopReason.MAX_TOKENS, Usage(6, 7, 8, 9, 4), service_tier="priority")


@pytest.mark.parametrize("name", [*STOP_REASONS, "brand_new", None])
def test_every_stop_reason(name: str | None) -> None:
    delta = {
        "stop_reason": name,
        "stop_sequence": "END",
        "stop_details": {"type": "refusal", "category": "bio", "explanation": "no"},
    }
    stop = read(START, {"type": "message_delta", "delta": delta}, END[1])[-1]
    reason = STOP_REASONS.get(name or "", StopReason.END_TURN)
    assert stop == Stop(reason, Usage(input=3), "END", "no", "bio")


def test_an_error_event_ends_the_stream_in_its_own_words() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    events = read(START, opened({"type": "text", "text": "half"}), error, *END)
    assert events[-2:] == [Close(), Fail("Overloaded", 529, "overloaded_error")]


def test_a_stream_without_message_stop_is_a_failure() -> None:
    assert read(START, opened({"type": "text", "text": "half"}), closed(), END[0])[-1] == CUT


def test_an_incomplete_event_is_a_failure_and_not_a_crash() -> None:
    last = read(
        START, {"type": "content_block_delta", "index": 4, "delta": {"type": "text_delta"}}, *END
    )[-1]
    assert isinstance(last, Fail)
    assert (last.status, last.code) == (502, "bad_stream")
    broken = [tool("apply_patch"), arguments('{"input'), closed()]
    assert isinstance(read(START, *broken, *END)[-1], Fail)


PAYLOADS = [
    START,
    opened({"type": "text", "text": "a"}),
    opened({"type": "thinking", "thinking": "", "signature": "s"}, 1),
    tool("apply_patch"),
    opened({"type": "web_fetch_tool_result", "content": []}, 2),
    opened({}),
    text("x"),
    text("y", 1),
    arguments('{"input":1}', 1),
    arguments("{", 2),
    delta({"type": "citations_delta"}),
    delta({"type": "signature_delta", "signature": "s"}, 1),
    delta({"type": "compaction_delta"}),
    closed(),
    closed(1),
    closed(2),
    {"type": "ping"},
    {"type": "error"},
    {"type": "message_start"},
    {"type": "message_delta", "delta": None},
    {"type": ["unhashable"]},
    {},
    *END,
]


@given(st.lists(st.sampled_from(PAYLOADS), max_size=25))
def test_any_payloads_in_any_order_keep_the_grammar(payloads: list[dict[str, Any]]) -> None:
    assert keeps_grammar(read(*payloads))
