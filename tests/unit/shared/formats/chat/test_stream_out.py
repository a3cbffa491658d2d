"""What a client sees of a reply, streamed and whole; the official SDK's own parsers are the judges
of both.
"""

from __future__ import annotations

import json

import httpx2
import openai
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState

from shared.formats.chat import Writer, write_reply
from shared.formats.fold import fold, unfold
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
from shared.formats.sse import encode_event
from shared.formats.written import KEEP_ALIVE

PROMPT = Prompt(model="asked")
USAGE = Usage(input=10, cache_read=200, cache_write=30, output=7, reasoning=4)
HEAD = {"id": "chatcmpl-msg_1", "object": "chat.completion.chunk", "created": 17, "model": "told"}
START, END = Start("msg_1", "told"), Stop(usage=USAGE)


def frames(events, prompt=PROMPT, **options) -> list:
    writer = Writer(prompt, id="x", created=17, model="asked", **options)
    return [frame for event in events for frame in writer.feed(event)]


def deltas(events, prompt=PROMPT, **options) -> list:
    """The deltas between the one with the role and the one with the finish reason."""
    chunks = [frame.data for frame in frames([START, *events, END], prompt, **options)]
    return [choice["delta"] for chunk in chunks[1:-2] for choice in chunk["choices"]]


def whole(events, prompt=PROMPT, **options) -> dict:
    return write_reply(
        prompt, fold([START, *events, END]), id="x", created=17, model="asked", **options
    )


def block(part, *texts) -> list:
    return [Open(part), *map(Delta, texts), Close()]


CALL = ToolCall("call_1", "weather")
CUSTOM = ToolCall("call_2", "shell", kind="custom")
HI = [{"role": "user", "content": "Hi"}]
HELLO = block(Text(""), "Hel", "lo")


def test_a_stream_is_role_text_reason_and_done() -> None:
    def chunk(delta, finish_reason=None):
        return (
            None,
            {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]},
        )

    assert frames([START, *HELLO, END]) == [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({}, "stop"),
        (None, "[DONE]"),
    ]


def test_usage_comes_alone_before_the_end_when_asked_for() -> None:
    *_, finish, usage, done = frames([START, END], Prompt(model="m", include_usage=True))
    assert "usage" not in finish.data
    assert usage.data["choices"] == []
    assert usage.data["usage"] == {
        "prompt_tokens": 240,
        "completion_tokens": 7,
        "total_tokens": 247,
        "prompt_tokens_details": {"cached_tokens": 200, "cache_write_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    assert done.data == "[DONE]"


def test_our_own_id_and_the_asked_model_stand_in_for_what_the_provider_left_out() -> None:
    first, *_ = frames([Start()])
    assert (first.data["id"], first.data["model"]) == ("chatcmpl-x", "asked")


def test_calls_are_counted_over_calls_and_introduced_once() -> None:
    events = [
        *block(Thinking(), "hm"),
        *block(CALL, '{"city":', '"Ulm"}'),
        *block(Text(""), "and"),
        *block(CUSTOM, "ls", " -l"),
        *block(ToolCall("call_3", "now")),
        *block(ToolCall("call_4", "quit", kind="custom")),
    ]
    assert [call for delta in deltas(events) for call in delta.get("tool_calls", [])] == [
        {
            "index": 0,
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": ""},
        },
        {"index": 0, "function": {"arguments": '{"city":'}},
        {"index": 0, "function": {"arguments": '"Ulm"}'}},
        {"index": 1, "id": "call_2", "type": "custom", "custom": {"name": "shell", "input": ""}},
        {"index": 1, "custom": {"input": "ls"}},
        {"index": 1, "custom": {"input": " -l"}},
        {
            "index": 2,
            "id": "call_3",
            "type": "function",
            "function": {"name": "now", "arguments": ""},
        },
        {"index": 2, "function": {"arguments": "{}"}},
        {"index": 3, "id": "call_4", "type": "custom", "custom": {"name": "quit", "input": ""}},
    ]
    assert whole(events)["choices"][0]["message"]["tool_calls"] == [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city":"Ulm"}'},
        },
        {"id": "call_2", "type": "custom", "custom": {"name": "shell", "input": "ls -l"}},
        {"id": "call_3", "type": "function", "function": {"name": "now", "arguments": "{}"}},
        {"id": "call_4", "type": "custom", "custom": {"name": "quit", "input": ""}},
    ]


THOUGHTS = [
    *block(Thinking(), "a", "b"),
    *block(Thinking()),
    *block(Thinking(redacted=True, signature="s")),
    *block(Text(""), "x"),
    Open(Thinking()),
    Delta("c"),
    Seal("s", "anthropic"),
    Close(),
    *block(Text(""), "y"),
]


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (
            "field",
            [
                {"reasoning_content": "a"},
                {"reasoning_content": "b"},
                {"content": "x"},
                {"reasoning_content": "\n\nc"},
                {"content": "y"},
            ],
        ),
        (
            "tags",
            [
                {"content": text}
                for text in (
                    "<thinking>a",
                    "b",
                    "</thinking>\n",
                    "x",
                    "<thinking>c",
                    "</thinking>\n",
                    "y",
                )
            ],
        ),
        ("off", [{"content": "x"}, {"content": "y"}]),
    ],
)
def test_reasoning_goes_where_it_was_asked_to(style, expected) -> None:
    assert deltas(THOUGHTS, reasoning=style) == expected


def test_web_citations_are_annotations_at_their_place_in_the_joined_text() -> None:
    events = [
        *block(Thinking(), "why"),
        *block(Text(""), "One. "),
        Open(Text("")),
        Delta("Two"),
        Cite(Citation("https://a.test", "A", 1, 3)),
        Cite(Citation(title="a document", vendor="anthropic", data={})),
        Cite(Citation("https://b.test", "B")),
        Delta(" more."),
        Close(),
        *block(Text(""), " Three."),
    ]

    def annotations(offset):
        places = [("https://a.test", "A", 6, 8), ("https://b.test", "B", 5, 14)]
        return [
            {
                "type": "url_citation",
                "url_citation": {
                    "url": url,
                    "title": title,
                    "start_index": offset + start,
                    "end_index": offset + end,
                },
            }
            for url, title, start, end in places
        ]

    assert deltas(events)[-1] == {"annotations": annotations(0)}
    assert whole(events)["choices"][0]["message"]["annotations"] == annotations(0)
    tagged = whole(events, reasoning="tags")["choices"][0]["message"]
    assert tagged["annotations"] == annotations(len("<thinking>why</thinking>\n"))


def test_a_refusal_is_told_as_one() -> None:
    said = [*block(Refusal(""), "I ", "won't")]
    assert deltas(said) == [{"refusal": "I "}, {"refusal": "won't"}]
    stop = Stop(StopReason.REFUSAL, explanation="Too risky.")
    message = write_reply(PROMPT, fold([START, stop]), id="x", created=17, model="m")["choices"][0]
    assert message["finish_reason"] == "content_filter"
    assert message["message"] == {"role": "assistant", "content": None, "refusal": "Too risky."}
    empty = write_reply(
        PROMPT, fold([START, *block(Refusal("")), stop]), id="x", created=17, model="m"
    )["choices"][0]
    assert empty == message
    both = write_reply(PROMPT, fold([START, *said, stop]), id="x", created=17, model="m")[
        "choices"
    ][0]["message"]
    assert both["refusal"] == "I won't"


FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "context_window": "length",
    "refusal": "content_filter",
}


@pytest.mark.parametrize("reason", StopReason)
def test_every_stop_reason_finishes_a_stream(reason) -> None:
    assert (
        frames([START, Stop(reason)])[-2].data["choices"][0]["finish_reason"]
        == FINISHES[reason.value]
    )


@pytest.mark.parametrize(
    ("tier", "told"),
    [("standard", "default"), ("priority", "priority"), ("batch", None), (None, None)],
)
def test_the_service_tier_is_told_in_openais_words(tier, told) -> None:
    finish = frames([START, Stop(service_tier=tier)])[-2].data
    assert finish.get("service_tier") == told


def test_what_only_a_vendor_understands_is_left_out() -> None:
    assert deltas(
        [Open(Opaque("anthropic", {"type": "server_tool_use"})), Close(), *HELLO]
    ) == deltas(HELLO)


def test_a_failure_ends_the_stream_without_a_reason_or_done() -> None:
    *_, last = frames(
        [START, Open(Text("")), Delta("Hel"), Close(), Fail("Overloaded", 529, "overloaded_error")]
    )
    assert last.data == {
        "error": {
            "message": "Overloaded",
            "type": "server_error",
            "param": None,
            "code": "server_is_overloaded",
        }
    }
    assert all(frame.data != "[DONE]" for frame in frames([START, Fail("x")]))


def test_a_ping_is_a_comment() -> None:
    assert frames([Ping()]) == [KEEP_ALIVE]


# --- streamed equals whole, to the official SDK --------------------------------------------------

BODIES = st.text(min_size=1, max_size=8)
CITATIONS = st.builds(
    Citation,
    url=st.sampled_from(["", "https://a.test"]),
    title=BODIES,
    start=st.none() | st.just(0),
)
PARTS = st.one_of(
    st.builds(Text, BODIES, st.lists(CITATIONS, max_size=2).map(tuple)),
    st.builds(Thinking, st.text(max_size=8), st.just("s"), st.just("anthropic")),
    st.builds(
        ToolCall,
        id=BODIES,
        name=BODIES,
        arguments=st.sampled_from(["", '{"a":1}']),
        kind=st.sampled_from(["function", "custom"]),
    ),
    st.builds(Refusal, BODIES),
    st.just(Opaque("openai", {"type": "web_search_call"})),
)
STOPS = st.builds(Stop, st.sampled_from(StopReason), st.just(USAGE), explanation=st.none() | BODIES)
REPLIES = st.builds(
    Reply, st.just("msg_1"), st.just("told"), st.lists(PARTS, max_size=6).map(tuple), STOPS
)


def client_of(body: bytes, content_type: str) -> openai.OpenAI:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": content_type}, content=body)

    transport = httpx2.MockTransport(answer)
    return openai.OpenAI(
        base_url="http://gateway.test", api_key="k", http_client=httpx2.Client(transport=transport)
    )


def wire(events, prompt=PROMPT, **options) -> bytes:
    def to_bytes(data):
        return (data if isinstance(data, str) else json.dumps(data)).encode()

    return b"".join(
        encode_event(name, to_bytes(data)) for name, data in frames(events, prompt, **options)
    )


def streaming(body: bytes, **request):
    return client_of(body, "text/event-stream").chat.completions.stream(
        model="m", messages=HI, **request
    )


@given(reply=REPLIES, style=st.sampled_from(["field", "tags", "off"]))
def test_what_the_official_sdk_gathers_from_the_stream_is_the_whole_reply(reply, style) -> None:
    prompt = Prompt(model="m", include_usage=True)
    written = write_reply(prompt, reply, id="x", created=17, model="m", reasoning=style)
    completions = client_of(json.dumps(written).encode(), "application/json").chat.completions
    direct = completions.create(model="m", messages=HI)
    state = ChatCompletionStreamState()
    body = wire(unfold(reply), prompt, reasoning=style)
    for chunk in client_of(body, "text/event-stream").chat.completions.create(
        model="m", messages=HI, stream=True
    ):
        list(state.handle_chunk(chunk))
    gathered = state.current_completion_snapshot

    def seen(completion):
        message = completion.choices[0].message.model_dump(exclude_none=True)
        for call in message.get("tool_calls", []):
            call.pop("index", None)
            call.get("function", {}).pop("parsed_arguments", None)
        message["content"] = message.get("content") or None
        return (
            completion.id,
            completion.model,
            completion.usage,
            completion.choices[0].finish_reason,
            message,
        )

    assert seen(gathered) == seen(direct)


def test_the_sdks_typed_events_see_text_and_calls() -> None:
    tool = {"type": "function", "function": {"name": "weather", "strict": True, "parameters": {}}}
    events = [START, *HELLO, *block(CALL, '{"city":', '"Ulm"}'), Ping(), Stop(StopReason.TOOL_USE)]
    with streaming(wire(events), tools=[tool]) as stream:
        seen = list(stream)
    done = {event.type: event for event in seen}
    assert done["content.done"].content == "Hello"
    assert done["tool_calls.function.arguments.done"].parsed_arguments == {"city": "Ulm"}


def test_the_sdk_reads_custom_calls_and_annotations_of_a_stream() -> None:
    cited = [
        Open(Text("")),
        Delta("x"),
        Cite(Citation("https://a.test", "A")),
        Cite(Citation("https://b.test", "B")),
        Close(),
    ]
    with streaming(
        wire([START, *cited, *block(CUSTOM, "ls", " -l"), Stop(StopReason.TOOL_USE)])
    ) as stream:
        message = (
            [event.snapshot for event in stream if event.type == "chunk"][-1].choices[0].message
        )
    assert [annotation.url_citation.url for annotation in message.annotations] == [
        "https://a.test",
        "https://b.test",
    ]
    assert message.tool_calls[0].to_dict()["custom"] == {"name": "shell", "input": "ls -l"}


def test_the_sdk_raises_what_broke_the_stream() -> None:
    body = wire([START, *HELLO, Fail("cut", 502, "stream_cut")])
    chunks = client_of(body, "text/event-stream").chat.completions.create(
        model="m", messages=HI, stream=True
    )
    seen = []
    with pytest.raises(openai.APIError, match="cut") as caught:
        seen.extend(chunk.choices[0].delta.content for chunk in chunks)
    assert seen == ["", "Hel", "lo"]
    assert caught.value.code == "stream_cut"


class Weather(pydantic.BaseModel):
    city: str
    degrees: int


def test_the_sdk_parses_structured_output_of_either() -> None:
    events = [START, *block(Text(""), '{"city":"Ulm",', '"degrees":4}'), END]
    written = write_reply(PROMPT, fold(events), id="x", created=17, model="m")
    completions = client_of(json.dumps(written).encode(), "application/json").chat.completions
    direct = completions.parse(model="m", messages=HI, response_format=Weather)
    with streaming(wire(events), response_format=Weather) as stream:
        gathered = stream.get_final_completion()
    expected = Weather(city="Ulm", degrees=4)
    assert direct.choices[0].message.parsed == gathered.choices[0].message.parsed == expected
