"""However a service tells its reply, the events are the same; what it fails to tell is
a failure.
"""

from __future__ import annotations

import pytest

from shared.formats import responses
from shared.formats.fold import WellFormed, fold
from shared.formats.ir import (
    Citation,
    Close,
    Delta,
    Fail,
    Opaque,
    Open,
    Prompt,
    Refusal,
    Reply,
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
from shared.formats.responses.names import short_name
from shared.formats.responses.stream_in import Reader
from tests.support.format_laws import NAMES, streamed_and_whole_are_equal

CREATED = {
    "type": "response.created",
    "response": {"id": "resp_1", "model": "gpt-5.5", "status": "in_progress"},
}
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 120,
}
URL_CITATION = {
    "type": "url_citation",
    "url": "https://x.test",
    "title": "X",
    "start_index": 0,
    "end_index": 2,
}
CITED = Citation("https://x.test", "X", 0, 2, "openai", URL_CITATION)


def ended(kind="completed", **response):
    return {
        "type": f"response.{kind}",
        "response": {"id": "resp_1", "output": [], "usage": USAGE} | response,
    }


def added(index, **item):
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index, **item):
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def delta(kind, index, text, **place):
    return {
        "type": f"response.{kind}.delta",
        "output_index": index,
        "item_id": "x",
        "delta": text,
    } | place


def message(text, **more):
    return {
        "type": "message",
        "id": "msg_1",
        "content": [{"type": "output_text", "text": text, **more}],
    }


def read(*datas, prompt=None):
    reader = WellFormed(Reader(prompt or Prompt("m")))
    events = [event for data in datas for event in reader.feed(data)]
    return [*events, *reader.end()]


def reply(*datas, prompt=None):
    return fold(read(CREATED, *datas, ended(), prompt=prompt))


def parts(*datas, prompt=None):
    result = reply(*datas, prompt=prompt)
    assert isinstance(result, Reply)
    return result.parts


# --- text ---


def test_a_text_flows_as_it_comes():
    assert read(
        CREATED,
        {"type": "response.in_progress", "response": {}},
        added(0, type="message", id="msg_1", role="assistant", content=[]),
        {"type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": {}},
        delta("output_text", 0, "Hel", content_index=0, obfuscation="x"),
        delta("output_text", 0, "lo", content_index=0),
        {
            "type": "response.output_text.done",
            "output_index": 0,
            "content_index": 0,
            "text": "Hello",
        },
        done(0, **message("Hello")),
        ended(service_tier="priority"),
    ) == [
        Start("resp_1", "gpt-5.5"),
        Open(Text("")),
        Delta("Hel"),
        Delta("lo"),
        Close(),
        Stop(StopReason.END_TURN, Usage(30, 60, 10, 20, 5), service_tier="priority"),
    ]


TEXT_DELTAS = [
    delta("output_text", 0, "Hel", content_index=0),
    delta("output_text", 0, "lo", content_index=0),
]


@pytest.mark.parametrize(
    "datas",
    [
        pytest.param(TEXT_DELTAS, id="only deltas"),
        pytest.param(
            [{"type": "response.output_text.done", "output_index": 0, "text": "Hello"}],
            id="only the end",
        ),
        pytest.param([done(0, **message("Hello"))], id="only the item"),
        pytest.param([*TEXT_DELTAS[:1], done(0, **message("Hello"))], id="half in deltas"),
        pytest.param([*TEXT_DELTAS, done(0, **message("Hello"))], id="deltas and the item"),
    ],
)
def test_a_text_is_told_once_however_it_comes(datas):
    assert parts(*datas) == (Text("Hello"),)


def test_parts_of_a_message_may_come_at_their_ends_only():
    texts = [
        {
            "type": "response.output_text.done",
            "output_index": 0,
            "content_index": number,
            "text": text,
        }
        for number, text in enumerate(["one", "two"])
    ]
    assert parts(*texts) == (Text("one"), Text("two"))


def test_the_last_event_tells_what_nothing_told_before():
    events = read(CREATED, *TEXT_DELTAS[:1], ended(output=[message("Hello"), message("Bye")]))
    assert fold(events).parts == (Text("Hello"), Text("Bye"))


def test_the_last_event_repeats_nothing():
    events = read(
        CREATED, *TEXT_DELTAS, done(0, **message("Hello")), ended(output=[message("Hello")])
    )
    assert fold(events).parts == (Text("Hello"),)


def test_phases_parts_and_refusals_are_blocks_of_their_own():
    content = [
        {"type": "output_text", "text": "a"},
        {"type": "output_text", "text": "b"},
        {"type": "refusal", "refusal": "no"},
    ]
    result = reply(
        added(0, type="message", id="msg_1", phase="commentary"),
        delta("output_text", 0, "a", content_index=0),
        delta("output_text", 0, "b", content_index=1),
        delta("refusal", 0, "n", content_index=2),
        done(0, type="message", id="msg_1", phase="commentary", content=content),
    )
    assert result.parts == (
        Text("a", phase="commentary"),
        Text("b", phase="commentary"),
        Refusal("no", phase="commentary"),
    )
    assert result.stop.reason is StopReason.REFUSAL


@pytest.mark.parametrize("streamed", [True, False])
def test_citations_are_told_once(streamed):
    annotation = {
        "type": "response.output_text.annotation.added",
        "output_index": 0,
        "content_index": 0,
        "annotation": URL_CITATION,
    }
    datas = [
        *TEXT_DELTAS,
        *([annotation] if streamed else []),
        done(0, **message("Hello", annotations=[URL_CITATION])),
    ]
    assert parts(*datas) == (Text("Hello", (CITED,)),)


@pytest.mark.parametrize("kind", [["url_citation"], {}, None, 7])
def test_an_annotation_whose_type_is_no_text_goes_to_no_other_client_as_it_came(kind):
    odd = URL_CITATION | {"type": kind}
    (text,) = parts(*TEXT_DELTAS, done(0, **message("Hello", annotations=[odd])))
    assert [citation.data for citation in text.citations] == [None]


# --- reasoning ---


def test_reasoning_is_one_block_whose_parts_stand_apart_and_its_last_seal_counts():
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [
            {"type": "summary_text", "text": "first"},
            {"type": "summary_text", "text": "second"},
        ],
    }
    events = read(
        CREATED,
        added(0, type="reasoning", id="rs_1", summary=[], encrypted_content="provisional"),
        delta("reasoning_summary_text", 0, "first", summary_index=0),
        delta("reasoning_summary_text", 0, "sec", summary_index=1),
        delta("reasoning_summary_text", 0, "ond", summary_index=1),
        done(0, **item, encrypted_content="gAAA"),
        ended(),
    )
    assert events[1:-1] == [
        Open(Thinking(vendor="openai", id="rs_1")),
        Delta("first"),
        Delta("\n\n"),
        Delta("sec"),
        Delta("ond"),
        Seal("gAAA", "openai", "rs_1"),
        Close(),
    ]
    whole = parts(done(0, **item, encrypted_content="gAAA"))
    assert whole == fold(events).parts == (Thinking("first\n\nsecond", "gAAA", "openai", "rs_1"),)


def test_reasoning_in_the_open_is_told_too():
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "content": [{"type": "reasoning_text", "text": "hmm"}],
    }
    streamed = parts(delta("reasoning_text", 0, "hmm", content_index=0), done(0, **item))
    assert (
        [part.text for part in streamed]
        == [part.text for part in parts(done(0, **item))]
        == ["hmm"]
    )


def test_sealed_reasoning_without_words_is_kept_for_the_next_request():
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    assert parts(done(0, **item)) == (Thinking("", "gAAA", "openai", "rs_1"),)


# --- calls ---

CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f"}
CUSTOM = {
    "type": "custom_tool_call",
    "id": "ctc_1",
    "call_id": "call_2",
    "name": "p",
    "namespace": "ns",
}


@pytest.mark.parametrize(
    "datas",
    [ pytest.param( [added(0, **CALL, arguments=""), delta("function_call_arguments", 0, '{"a"'), delta("function_call_arguments", 0, ":1}"), done(0, **CALL, arguments='{"a":1}')], id="deltas and the item", ), pytest.param( [added(0, **CALL, arguments=""), delta("function_call_arguments", 0, '{"a":1}')], id="only deltas" ), pytest.param( [added(0, **CALL, arguments=""), {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": '{"a":1}'}], id="only the end", ), pytest.param([added(0, **CALL, arguments='{"a":1}'), done(0, **CALL)], id="whole at the start"), pytest.param([done(0, **CALL, arguments='{"a":1}')], id="only the item"), pytest.param( [delta("function_call_arguments", 0, '{"a"'), done(0, **CALL, arguments='{"a":1}')], id="deltas of a call not announced", ), ],
)  # fmt: skip
def test_arguments_are_told_once_however_they_come(datas):
    result = reply(*datas)
    assert result.parts == (ToolCall("call_1", "f", '{"a":1}'),)
    assert result.stop.reason is StopReason.TOOL_USE


def test_a_custom_call_is_raw_text_and_keeps_its_namespace():
    streamed = parts(
        added(0, **CUSTOM, input=""),
        delta("custom_tool_call_input", 0, "*** B"),
        done(0, **CUSTOM, input="*** Begin"),
    )
    assert streamed == parts(done(0, **CUSTOM, input="*** Begin"))
    assert streamed == (ToolCall("call_2", "p", "*** Begin", "custom", "ns"),)


def test_a_call_without_arguments_is_still_a_call():
    assert parts(added(0, **CALL, arguments=""), done(0, **CALL, arguments="")) == (
        ToolCall("call_1", "f"),
    )


def test_a_shortened_tool_name_gets_its_own_back():
    name = "n" * 80
    data = done(0, **CALL | {"name": short_name(name)}, arguments="{}")
    assert parts(data, prompt=Prompt("m", tools=(Tool(name),))) == (ToolCall("call_1", name, "{}"),)


def test_items_that_overlap_come_one_after_another():
    assert parts(
        added(0, **CALL, arguments=""),
        added(1, **CUSTOM, input=""),
        delta("custom_tool_call_input", 1, "raw"),
        delta("function_call_arguments", 0, "{}"),
        done(1, **CUSTOM, input="raw"),
        done(0, **CALL, arguments="{}"),
    ) == (ToolCall("call_1", "f", "{}"), ToolCall("call_2", "p", "raw", "custom", "ns"))


def test_an_item_nobody_here_knows_is_kept_whole():
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    assert parts(
        added(0, type="web_search_call", id="ws_1", status="in_progress"),
        {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"},
        done(0, **item),
        done(1, **message("found")),
    ) == (Opaque("openai", item), Text("found"))


# --- the end ---


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (ended(), StopReason.END_TURN),
        (ended("done", status="completed"), StopReason.END_TURN),
        (
            ended("incomplete", incomplete_details={"reason": "max_output_tokens"}),
            StopReason.MAX_TOKENS,
        ),
        (ended("incomplete", incomplete_details={"reason": "content_filter"}), StopReason.REFUSAL),
        (
            ended("incomplete", incomplete_details={"reason": "something_new"}),
            StopReason.MAX_TOKENS,
        ),
        (ended("incomplete"), StopReason.MAX_TOKENS),
    ],
)
def test_every_ending_has_its_stop_reason(last, reason):
    assert fold(read(CREATED, *TEXT_DELTAS, last)).stop.reason is reason


def test_the_last_event_may_hold_next_to_nothing():
    last = {"type": "response.completed", "response": {"id": "resp_1", "end_turn": True}}
    assert fold(read(CREATED, *TEXT_DELTAS, last)).stop == Stop()


@pytest.mark.parametrize(
    ("last", "fail"),
    [
        (
            ended("failed", error={"code": "context_length_exceeded", "message": "too long"}),
            Fail("too long", 400, "context_length_exceeded"),
        ),
        (
            ended(
                "failed", error={"code": "rate_limit_exceeded", "message": "try again in 11.054s"}
            ),
            Fail("try again in 11.054s", 429, "rate_limit_exceeded"),
        ),
        (
            ended("failed", error={"code": "server_is_overloaded", "message": "busy"}),
            Fail("busy", 503, "server_is_overloaded"),
        ),
        (ended("failed", error=None), Fail("The provider gave no reason.", 502)),
        (ended("cancelled"), Fail("The provider cancelled the response.", 502, "cancelled")),
        (
            {"type": "error", "code": "usage_limit_reached", "message": "later", "param": None},
            Fail("later", 429, "usage_limit_reached"),
        ),
        (
            {
                "type": "error",
                "status_code": 429,
                "error": {"type": "usage_not_included", "message": "no"},
            },
            Fail("no", 429, "usage_not_included"),
        ),
        ({"type": "response.output_item.added", "output_index": 0}, None),
    ],
)
def test_every_failure_ends_the_reply_with_its_own_words(last, fail):
    events = read(CREATED, *TEXT_DELTAS, last, ended())
    assert events[-2] == Close()
    assert events[-1] == (fail or Fail(events[-1].message, 502, "bad_stream"))


def test_a_stream_that_just_stops_is_a_failure():
    assert fold(read(CREATED, *TEXT_DELTAS)).code == "stream_cut"


@pytest.mark.parametrize(
    "noise",
    [
        {"type": "codex.rate_limits", "rate_limits": {}},
        {"type": "response.metadata", "headers": {}},
        {"type": "keepalive"},
        {"type": "response.something.new", "output_index": 9},
        {"no": "type"},
    ],
)
def test_unknown_events_are_nothing(noise):
    assert read(noise) == read()


def test_a_text_that_comes_before_its_item_is_told_once():
    early = delta("output_text", 0, "Hel")
    told = parts(
        early,
        added(0, type="message", id="msg_1", content=[]),
        delta("output_text", 0, "lo"),
        done(0, **message("Hello")),
    )
    assert told == (Text("Hello"),)


def test_two_items_of_one_index_are_two_texts():
    first, second = message("one"), message("two") | {"id": "msg_2"}
    begun = [added(0, **first | {"content": []}), added(0, **second | {"content": []})]
    deltas = [
        delta("output_text", 0, "one", item_id="msg_1"),
        delta("output_text", 0, "two", item_id="msg_2"),
    ]
    assert parts(*begun, *deltas, done(0, **first), done(0, **second)) == (Text("one"), Text("two"))
    assert parts(done(0, **first), done(0, **second)) == (Text("one"), Text("two"))


# --- items that nothing announced ---

DELTAS = {
    "reasoning_summary_text": "ab",
    "reasoning_text": "ab",
    "output_text": "ab",
    "refusal": "ab",
    "function_call_arguments": "{",
    "custom_tool_call_input": "ab",
}


def thought(name, *words, field="summary"):
    parts = [{"type": f"{field}_text", "text": text} for text in words]
    return {"type": "reasoning", "id": name, field: parts, "encrypted_content": f"seal of {name}"}


def items_named(name):
    """Return an item of each kind under the id `name`."""
    refused = [{"type": "refusal", "refusal": "abc"}]
    return [
        thought(name),
        thought(name, "abc"),
        thought(name, "abc", field="content"),
        message("abc") | {"id": name},
        message("") | {"id": name, "content": refused},
        CALL | {"id": name, "arguments": "{}"},
        CUSTOM | {"id": name, "input": "abc"},
        {"type": "web_search_call", "id": name, "status": "completed"},
    ]


def events_beside(kind):
    """Yield what may come before, after and around a delta of an item that nothing announced."""
    again = delta(kind, 0, DELTAS[kind])
    for name in ("x", "y"):
        for item in items_named(name):
            yield [], [done(0, **item)], []
            yield [], [done(1, **item)], []
            yield [done(0, **item)], [again, done(0, **item)], []
            yield [added(0, **item)], [done(0, **item), again], []
            yield [], [added(0, **item), again, done(0, **item)], [item]
            yield [], [done(0, **thought("x", "abc")), done(1, **item)], []
            yield [], [added(1, **item), done(0, **thought("y")), done(1, **item)], []
            yield [], [], [item, thought("x", "abc")]


@pytest.mark.parametrize("place", [{}, {"item_id": None}], ids=["named", "nameless"])
@pytest.mark.parametrize("kind", DELTAS)
def test_a_client_of_responses_sees_the_same_in_a_stream_and_a_reply(kind, place):
    replies = 0
    for before, after, output in events_beside(kind):
        datas = [*before, delta(kind, 0, DELTAS[kind], **place), *after]
        events = read(CREATED, *datas, ended(output=output))
        whole = fold(events)
        if isinstance(whole, Reply):
            replies += 1
            streamed_and_whole_are_equal(responses, "openai_responses", whole, events)
            seals_have_the_ids_they_were_made_for(whole)
    assert replies > 100


def seals_have_the_ids_they_were_made_for(whole):
    output = responses.write_reply(Prompt("m"), whole, **NAMES)["output"]
    prompt = responses.read_prompt({"model": "m", "input": output})
    for told in prompt.messages:
        for part in told.parts:
            if isinstance(part, Thinking) and part.signature:
                assert part.signature == f"seal of {part.id}"


def test_reasoning_that_nothing_announced_has_the_id_of_its_first_event():
    told = parts(delta("reasoning_summary_text", 0, "ab"), done(0, **thought("x", "abc")))
    assert told == (Thinking("abc", "seal of x", "openai", "x"),)


@pytest.mark.parametrize(
    "first",
    [
        delta("reasoning_summary_text", 0, "abc"),
        delta("reasoning_summary_text", 0, "abc", item_id=None),
        added(0, type="reasoning", id="x"),
    ],
)
def test_a_seal_for_another_id_than_the_reasoning_began_with_is_a_block_of_its_own(first):
    seal = Thinking("", "seal of y", "openai", "y")
    *_, told, sealed = parts(first, done(0, **thought("y", "abc")))
    assert (told.text, told.signature, sealed) == ("abc", "", seal)


def test_reasoning_is_never_told_in_the_text_of_the_same_item():
    told = parts(
        delta("reasoning_summary_text", 0, "a"),
        delta("output_text", 0, "text"),
        delta("reasoning_summary_text", 0, "b", summary_index=1),
        done(0, **thought("x", "a", "b")),
    )
    assert [part.text for part in told] == ["a", "text", "b"]
    assert told[-1].signature == "seal of x"


def test_an_item_nobody_here_knows_ends_the_text_that_came_before_it():
    reader = WellFormed(Reader(Prompt("m")))
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    for data in (CREATED, delta("output_text", 0, "a"), done(0, **item)):
        reader.feed(data)
    assert reader.feed(delta("output_text", 1, "b")) == [Open(Text("")), Delta("b")]
