"""The stream a Responses client sees, frame by frame, and the whole response, which is how that
stream ends.
"""

from __future__ import annotations

import pytest

from shared.formats.envelope import unwrap
from shared.formats.fold import WellFormed, fold, unfold
from shared.formats.ir import (
    Citation,
    Cite,
    Close,
    Delta,
    Fail,
    Opaque,
    Open,
    Ping,
    Prompt,
    Reasoning,
    Refusal,
    Reply,
    ResponseFormat,
    Seal,
    Start,
    Stop,
    StopReason,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    Usage,
)
from shared.formats.responses.request_in import read_prompt
from shared.formats.responses.stream_in import Reader
from shared.formats.responses.stream_out import Writer, write_reply
from shared.formats.written import KEEP_ALIVE

START = Start("msg_up", "claude")
STOP = Stop(StopReason.END_TURN, Usage(30, 60, 10, 20, 5))
PROMPT = Prompt("m")


def frames(*events, prompt=PROMPT):
    writer = Writer(prompt, id="1", created=7, model="m")
    return [frame for event in events for frame in writer.feed(event)]


def body(*events):
    """The frames between the opening pair and the last, without their numbers."""
    written = frames(START, *events, STOP)[2:-1]
    return [
        {name: value for name, value in data.items() if name != "sequence_number"}
        for _, data in written
    ]


def last(*events, prompt=PROMPT):
    return frames(START, *events, prompt=prompt)[-1].data["response"]


def text(*pieces, header=None):
    return [Open(header or Text("")), *map(Delta, pieces), Close()]


def test_a_stream_begins_with_the_response_under_way_and_numbers_every_event():
    written = frames(START, *text("hi"), STOP)
    assert [name for name, _ in written] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [data["sequence_number"] for _, data in written] == list(range(9))
    assert all(data["type"] == name for name, data in written)
    first = written[0].data["response"]
    assert (first["id"], first["object"], first["status"], first["created_at"]) == (
        "resp_1",
        "response",
        "in_progress",
        7,
    )
    assert (first["model"], first["output"], first["usage"]) == ("claude", [], None)


def test_the_model_asked_for_is_told_when_the_provider_names_none():
    assert frames(Start())[0].data["response"]["model"] == "m"


def test_a_text_is_a_part_of_a_message_item():
    item = {
        "type": "message",
        "id": "msg_1_0",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    place = {"item_id": "msg_1_0", "output_index": 0, "content_index": 0}
    whole = part | {"text": "Hello"}
    assert body(*text("Hel", "lo")) == [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": part},
        {"type": "response.output_text.delta", **place, "delta": "Hel", "logprobs": []},
        {"type": "response.output_text.delta", **place, "delta": "lo", "logprobs": []},
        {"type": "response.output_text.done", **place, "text": "Hello", "logprobs": []},
        {"type": "response.content_part.done", **place, "part": whole},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": item | {"status": "completed", "content": [whole]},
        },
    ]


def test_texts_in_a_row_share_an_item_unless_their_phase_differs():
    output = last(
        *text("a"),
        *text("b"),
        *text("no", header=Refusal("")),
        *text("never", header=Refusal("", phase="p")),
        *text("c", header=Text("", phase="p")),
        STOP,
    )["output"]
    assert [
        [part.get("text", part.get("refusal")) for part in item["content"]] for item in output
    ] == [
        ["a", "b", "no"],
        ["never", "c"],
    ]
    assert output[1]["phase"] == "p"


def test_a_refusal_has_events_of_its_own():
    place = {"item_id": "msg_1_0", "output_index": 0, "content_index": 0}
    assert body(*text("no", header=Refusal("")))[1:-1] == [
        {
            "type": "response.content_part.added",
            **place,
            "part": {"type": "refusal", "refusal": ""},
        },
        {"type": "response.refusal.delta", **place, "delta": "no"},
        {"type": "response.refusal.done", **place, "refusal": "no"},
        {
            "type": "response.content_part.done",
            **place,
            "part": {"type": "refusal", "refusal": "no"},
        },
    ]


def test_citations_are_told_when_the_text_they_may_span_is_whole():
    native = {"type": "file_citation", "file_id": "file-1", "filename": "f", "index": 0}
    cites = [
        Cite(Citation("https://x.test", "X")),
        Cite(Citation(vendor="openai", data=native)),
        Cite(
            Citation(
                title="a page of a document", vendor="anthropic", data={"type": "page_location"}
            )
        ),
    ]
    written = body(Open(Text("")), cites[0], Delta("Hello"), *cites[1:], Close())
    annotation = {
        "type": "url_citation",
        "url": "https://x.test",
        "title": "X",
        "start_index": 0,
        "end_index": 5,
    }
    told = [data for data in written if data["type"] == "response.output_text.annotation.added"]
    assert [(data["annotation_index"], data["annotation"]) for data in told] == [
        (0, annotation),
        (1, native),
    ]
    assert written[-1]["item"]["content"][0]["annotations"] == [annotation, native]


def test_thinking_is_a_reasoning_item_with_its_seal_wrapped():
    place = {"item_id": "rs_1_0", "output_index": 0}
    part = {"type": "summary_text", "text": "hmm"}
    *written, item_done = body(
        Open(Thinking(vendor="anthropic")),
        Delta("h"),
        Delta("mm"),
        Seal("sig", "anthropic"),
        Close(),
    )
    assert written == [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {"type": "reasoning", "id": "rs_1_0", "summary": []},
        },
        {
            "type": "response.reasoning_summary_part.added",
            **place,
            "summary_index": 0,
            "part": {"type": "summary_text", "text": ""},
        },
        {
            "type": "response.reasoning_summary_text.delta",
            **place,
            "summary_index": 0,
            "delta": "h",
        },
        {
            "type": "response.reasoning_summary_text.delta",
            **place,
            "summary_index": 0,
            "delta": "mm",
        },
        {
            "type": "response.reasoning_summary_text.done",
            **place,
            "summary_index": 0,
            "text": "hmm",
        },
        {"type": "response.reasoning_summary_part.done", **place, "summary_index": 0, "part": part},
    ]
    item = item_done["item"]
    assert item["summary"] == [part]
    assert unwrap(item["encrypted_content"]) == Thinking("hmm", "sig", "anthropic")


THOUGHTS = [
    Thinking("hmm", "sig", "anthropic"),
    Thinking("", "sig", "anthropic"),
    Thinking("", "data", "anthropic", redacted=True),
    Thinking("why\n\nso", "gAAA", "openai", "rs_9"),
    Thinking("unsigned"),
]


@pytest.mark.parametrize("thought", THOUGHTS)
def test_reasoning_comes_back_with_the_next_request_as_its_maker_sealed_it(thought):
    output = write_reply(PROMPT, Reply("", "m", (thought,), STOP), id="1", created=7, model="m")[
        "output"
    ]
    assert read_prompt({"model": "m", "input": output}).messages[0].parts == (thought,)


def test_thinking_without_words_has_no_summary_part():
    item = body(Open(Thinking(vendor="anthropic")), Seal("sig", "anthropic"), Close())[-1]["item"]
    assert item["summary"] == []


def test_a_function_call_is_an_item_of_its_own():
    place = {"item_id": "fc_1_0", "output_index": 0}
    item = {
        "type": "function_call",
        "id": "fc_1_0",
        "call_id": "c",
        "name": "f",
        "arguments": "",
        "status": "in_progress",
    }
    assert body(Open(ToolCall("c", "f")), Delta('{"a"'), Delta(":1}"), Close()) == [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.function_call_arguments.delta", **place, "delta": '{"a"'},
        {"type": "response.function_call_arguments.delta", **place, "delta": ":1}"},
        {
            "type": "response.function_call_arguments.done",
            **place,
            "name": "f",
            "arguments": '{"a":1}',
        },
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": item | {"arguments": '{"a":1}', "status": "completed"},
        },
    ]


def test_a_call_without_arguments_has_an_empty_object_for_them_in_every_place():
    written = body(Open(ToolCall("c", "f")), Close())
    assert [data["delta"] for data in written if "delta" in data] == ["{}"]
    assert written[-2]["arguments"] == written[-1]["item"]["arguments"] == "{}"


def test_a_custom_call_is_raw_text():
    written = body(
        Open(ToolCall("c", "apply_patch", kind="custom", namespace="ns")),
        Delta("*** Begin"),
        Close(),
    )
    assert [data["type"] for data in written] == [
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
    ]
    item = written[-1]["item"]
    assert (item["type"], item["input"], item["namespace"]) == (
        "custom_tool_call",
        "*** Begin",
        "ns",
    )


def test_a_local_shell_call_tells_its_action_when_it_is_whole():
    call = ToolCall("c", "local_shell", kind="local_shell")
    begun, ended = body(Open(call), Delta('{"command":'), Delta('["ls"]}'), Close())
    assert begun["item"]["type"] == ended["item"]["type"] == "local_shell_call"
    assert ended["item"]["action"] == {"type": "exec", "env": {}, "command": ["ls"]}


def test_a_web_search_of_claude_is_told_as_one_of_openai():
    search = {
        "type": "server_tool_use",
        "id": "srvtoolu_1",
        "name": "web_search",
        "input": {"query": "q"},
    }
    page = {
        "type": "web_search_result",
        "url": "https://a.test",
        "title": "A",
        "encrypted_content": "e",
    }
    result = {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [page, "odd", {"url": 1}],
    }
    written = body(
        Open(Opaque("anthropic", search)), Close(), Open(Opaque("anthropic", result)), Close()
    )
    assert [data["type"].removeprefix("response.") for data in written] == [
        "output_item.added",
        "web_search_call.in_progress",
        "web_search_call.searching",
        "web_search_call.completed",
        "output_item.done",
    ]
    item = written[-1]["item"]
    sources = [{"type": "url", "url": "https://a.test"}]
    assert (item["status"], item["action"]) == (
        "completed",
        {"type": "search", "query": "q", "sources": sources},
    )


def test_an_item_of_openais_own_is_told_as_it_is():
    item = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AAAA"}
    assert [data["item"] for data in body(Open(Opaque("openai", item)), Close())] == [item, item]


def test_no_two_items_have_one_id_and_a_seal_keeps_the_id_it_was_made_for():
    found = Opaque("openai", {"type": "web_search_call", "id": "a"})
    nameless = Opaque("openai", {"type": "web_search_call", "id": ""})
    thought = [Open(Thinking(vendor="openai", id="a")), Seal("gAAA", "openai", "a"), Close()]
    output = last(
        Open(found), Close(), *thought, Open(found), Close(), Open(nameless), Close(), STOP
    )["output"]
    assert [item["id"] for item in output] == ["a", "rs_1_1", "item_1_2", "item_1_3"]
    (back,) = [
        part
        for message in read_prompt({"model": "m", "input": output}).messages
        for part in message.parts
        if isinstance(part, Thinking)
    ]
    assert back == Thinking("", "gAAA", "openai", "a")


def test_items_are_counted_without_gaps():
    written = body(
        Open(Thinking(vendor="anthropic")), Close(), *text("a"),
        Open(Opaque("anthropic", {"type": "x"})), Close(), Open(ToolCall("c", "f")), Close(),
    )  # fmt: skip
    begun = [
        data["output_index"] for data in written if data["type"] == "response.output_item.added"
    ]
    ended = [
        data["output_index"] for data in written if data["type"] == "response.output_item.done"
    ]
    assert begun == ended == [0, 1, 2]


def test_only_the_last_item_of_a_reply_cut_short_is_incomplete():
    call = [Open(ToolCall("c", "f")), Delta('{"a'), Close()]
    output = last(*text("a"), *call, Stop(StopReason.MAX_TOKENS))["output"]
    assert [item["status"] for item in output] == ["completed", "incomplete"]


@pytest.mark.parametrize(
    ("choice", "echo"),
    [
        (None, "auto"),
        (ToolChoice("required"), "required"),
        (ToolChoice("named", "f"), {"type": "function", "name": "f"}),
    ],
)
def test_a_tool_choice_is_echoed(choice, echo):
    assert last(STOP, prompt=Prompt("m", tool_choice=choice))["tool_choice"] == echo


# --- the end ---


def test_the_last_event_holds_the_whole_output_and_the_usage():
    written = frames(START, Open(Thinking()), Delta("hm"), Close(), *text("a"), STOP)
    response = written[-1].data["response"]
    done = [data["item"] for name, data in written if name == "response.output_item.done"]
    assert response["output"] == done
    assert response["usage"] == {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 120,
    }


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        (StopReason.END_TURN, "completed", None),
        (StopReason.TOOL_USE, "completed", None),
        (StopReason.STOP_SEQUENCE, "completed", None),
        (StopReason.PAUSE_TURN, "completed", None),
        (StopReason.MAX_TOKENS, "incomplete", {"reason": "max_output_tokens"}),
        (StopReason.CONTEXT_WINDOW, "incomplete", {"reason": "max_output_tokens"}),
        (StopReason.REFUSAL, "incomplete", {"reason": "content_filter"}),
    ],
)
def test_every_stop_reason_has_its_ending(reason, status, why):
    name, data = frames(START, *text("a"), Stop(reason))[-1]
    response = data["response"]
    assert name == f"response.{status}"
    assert (response["status"], response["incomplete_details"]) == (status, why)
    assert response["output"][0]["status"] == status


def test_the_table_of_endings_is_proved_whole():
    proved = test_every_stop_reason_has_its_ending.pytestmark[0].args[1]
    assert {reason for reason, *_ in proved} == set(StopReason)


def test_a_refusal_without_words_of_its_own_gets_its_explanation():
    stop = Stop(StopReason.REFUSAL, explanation="not this")
    (item,) = last(stop)["output"]
    assert item["content"] == [{"type": "refusal", "refusal": "not this"}]
    (item,) = last(*text("no", header=Refusal("")), stop)["output"]
    assert item["content"] == [{"type": "refusal", "refusal": "no"}]


@pytest.mark.parametrize(
    ("fail", "code"),
    [
        (Fail("busy", 529, "overloaded_error"), "server_is_overloaded"),
        (Fail("later", 429, "rate_limit_error"), "rate_limit_exceeded"),
        (Fail("prompt is too long", 400, "invalid_request_error"), "context_length_exceeded"),
        (Fail("no", 400, "invalid_request_error"), "invalid_prompt"),
        (Fail("cut", 502, "stream_cut"), "stream_cut"),
    ],
)
def test_a_failure_ends_the_stream_and_finishes_nothing(fail, code):
    written = frames(START, *text("a"), Open(ToolCall("c", "rm")), Delta('{"all"'), Close(), fail)
    name, data = written[-1]
    assert name == "response.failed"
    assert data["response"]["error"] == {"code": code, "message": fail.message}
    assert data["response"]["status"] == "failed"
    assert [item["type"] for item in data["response"]["output"]] == ["message"]
    assert not [
        data
        for _, data in written
        if data.get("item", {}).get("status") == "completed" and "name" in data["item"]
    ]


def test_a_ping_is_a_comment():
    assert frames(Ping()) == [KEEP_ALIVE]


def test_small_settings_are_echoed():
    prompt = Prompt(
        "m",
        tool_choice=ToolChoice("named", "f"),
        parallel_tools=False,
        max_tokens=9,
        temperature=0.5,
        reasoning=Reasoning("high", summary="auto"),
        response_format=ResponseFormat(),
        verbosity="low",
        metadata={"a": "b"},
        cache_key="k",
    )
    response = last(Stop(service_tier="priority"), prompt=prompt)
    expected = {
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": False,
        "max_output_tokens": 9,
        "temperature": 0.5,
        "reasoning": {"effort": "high", "summary": "auto"},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "metadata": {"a": "b"},
        "prompt_cache_key": "k",
        "service_tier": "priority",
        "store": False,
    }
    assert {name: response[name] for name in expected} == expected


# --- streamed equals whole ---

REPLIES = [
    Reply("", "m", (), STOP),
    Reply("", "m", (Text("a"), Text("b"), Refusal("no")), Stop(StopReason.REFUSAL)),
    Reply(
        "",
        "m",
        (Text("a", phase="commentary"), ToolCall("c", "f", "{}")),
        Stop(StopReason.TOOL_USE),
    ),
    Reply(
        "",
        "m",
        (
            Thinking("why", "gAAA", "openai", "rs_9"),
            ToolCall("c1", "f", '{"a":1}', namespace="ns"),
            ToolCall("c2", "p", "raw\ntext", "custom"),
            Opaque("openai", {"type": "web_search_call", "id": "ws_1", "status": "completed"}),
        ),
        Stop(StopReason.TOOL_USE, Usage(1, 2, 3, 4, 5), service_tier="default"),
    ),
    Reply("", "m", (Text("cut"),), Stop(StopReason.MAX_TOKENS)),
]


@pytest.mark.parametrize("reply", REPLIES)
def test_what_is_written_reads_back_as_the_same_reply(reply):
    reader = WellFormed(Reader(PROMPT))
    written = frames(*unfold(reply))
    events = [event for _, data in written for event in reader.feed(data)]
    read = fold([*events, *reader.end()])
    assert read.parts == reply.parts
    assert (read.stop.reason, read.stop.usage) == (reply.stop.reason, reply.stop.usage)


@pytest.mark.parametrize("reply", REPLIES)
def test_a_whole_reply_is_how_its_stream_ends(reply):
    chopped = []
    for event in unfold(reply):
        chopped += map(Delta, event.text) if isinstance(event, Delta) else [event]
    whole = write_reply(PROMPT, reply, id="1", created=7, model="m")
    assert whole == frames(*chopped)[-1].data["response"]


@pytest.mark.parametrize("reply", REPLIES)
def test_deltas_add_up_to_what_their_item_says(reply):
    told = {}
    for _, data in frames(*unfold(reply)):
        if data["type"].endswith(".delta"):
            place = data["output_index"], data.get("content_index", data.get("summary_index"))
            told[place] = told.get(place, "") + data["delta"]
    said = {}
    for index, item in enumerate(
        write_reply(PROMPT, reply, id="1", created=7, model="m")["output"]
    ):
        for number, part in enumerate([*item.get("content", ()), *item.get("summary", ())]):
            said[index, number] = part.get("text", part.get("refusal"))
        if "call_id" in item:
            said[index, None] = item.get("arguments", item.get("input"))
    assert told == said
