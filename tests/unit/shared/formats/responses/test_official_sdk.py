"""The official `openai` library reads our streams and replies, and what it sends is read by us."""

from __future__ import annotations

import json

import httpx
import openai
import pydantic
import pytest

from shared.formats import sse
from shared.formats.fold import fold
from shared.formats.ir import (
    Citation,
    Cite,
    Close,
    Delta,
    Fail,
    Opaque,
    Open,
    Ping,
    Refusal,
    Seal,
    Start,
    Stop,
    StopReason,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from shared.formats.responses import Writer, read_prompt, write_error, write_reply
from shared.runtime.errors import ClientError

REPLY = [
    Start("msg_up", "claude"),
    Open(Thinking(vendor="anthropic")),
    Delta("hm"),
    Ping(),
    Seal("sig", "anthropic"),
    Close(),
    Open(Text("")),
    Delta('{"city": '),
    Delta('"Ulm"}'),
    Close(),
    Open(ToolCall("call_1", "weather")),
    Delta('{"city":'),
    Delta('"Ulm"}'),
    Close(),
    Open(ToolCall("call_2", "apply_patch", kind="custom")),
    Delta("*** Begin"),
    Close(),
    Stop(StopReason.TOOL_USE, Usage(30, 60, 10, 20, 5)),
]
RARE = [
    REPLY[0],
    Open(Text("", phase="commentary")),
    Delta("see"),
    Cite(Citation("https://x.test", "X")),
    Close(),
    Open(Refusal("")),
    Delta("no"),
    Close(),
    Open(ToolCall("call_1", "local_shell", kind="local_shell")),
    Delta('{"command": ["ls"]}'),
    Close(),
    Open(
        Opaque(
            "anthropic", {"type": "server_tool_use", "name": "web_search", "input": {"query": "q"}}
        )
    ),
    Close(),
    REPLY[-1],
]
CUT_SHORT = [REPLY[0], *REPLY[6:10], Stop(StopReason.MAX_TOKENS)]
BROKEN = [*REPLY[:8], Close(), Fail("Later.", 429, "rate_limit_error")]
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tells the weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class City(pydantic.BaseModel):
    city: str


class Service:
    """Answers every request with these events, in the way it was asked to."""

    def __init__(self, events):
        self.events = events
        self.prompt = None

    def __call__(self, request):
        try:
            self.prompt = read_prompt(json.loads(request.content))
        except ClientError as error:
            fail = Fail(error.message, error.status, param=error.param or "")
            return httpx.Response(400, json=write_error(fail))
        names = {"id": "1", "created": 7, "model": "m"}
        if not self.prompt.stream:
            return httpx.Response(200, json=write_reply(self.prompt, fold(self.events), **names))
        writer = Writer(self.prompt, **names)
        frames = [frame for event in self.events for frame in writer.feed(event)]
        wire = b"".join(
            sse.encode_event(
                name, data.encode() if isinstance(data, str) else json.dumps(data).encode()
            )
            for name, data in frames
        )
        return httpx.Response(200, content=wire, headers={"content-type": "text/event-stream"})


@pytest.fixture
def ask():
    """A client of a service that answers with these events."""
    opened = []

    def open_client(events):
        service = Service(events)
        transport = httpx.MockTransport(service)
        client = openai.OpenAI(
            api_key="k",
            base_url="http://service.test/v1",
            http_client=httpx.Client(transport=transport),
            max_retries=0,
        )
        opened.append(client)
        return client, service

    yield open_client
    for client in opened:
        client.close()


def test_a_stream_is_read_event_by_event(ask):
    client, _ = ask(REPLY)
    events = list(client.responses.create(model="m", input="hi", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (
        "".join(event.delta for event in events if event.type == "response.output_text.delta")
        == '{"city": "Ulm"}'
    )
    final = events[-1].response
    assert [item.type for item in final.output] == [
        "reasoning",
        "message",
        "function_call",
        "custom_tool_call",
    ]
    assert final.output_text == '{"city": "Ulm"}'
    assert (final.usage.input_tokens, final.usage.input_tokens_details.cached_tokens) == (100, 60)


@pytest.mark.parametrize(
    "events", [REPLY, RARE, CUT_SHORT, BROKEN], ids=["usual", "rare", "cut short", "broken"]
)
def test_every_event_has_all_the_fields_the_library_declares(ask, events):
    """The library builds its models unchecked; here they are checked as strictly as their types
    say.
    """
    client, _ = ask(events)
    for event in client.responses.create(model="m", input="hi", stream=True):
        type(event).model_validate(event.to_dict())


def test_the_accumulating_helper_comes_to_the_same_reply(ask):
    client, _ = ask(REPLY)
    with client.responses.stream(
        model="m", input="hi", tools=[WEATHER], text_format=City
    ) as stream:
        snapshots = [
            event.snapshot
            for event in stream
            if event.type == "response.function_call_arguments.delta"
        ]
        final = stream.get_final_response()
    assert snapshots[-1] == '{"city":"Ulm"}'
    assert final.output_parsed == City(city="Ulm")
    assert final.output[2].parsed_arguments == {"city": "Ulm"}


def test_a_whole_reply_is_parsed_into_the_clients_own_type(ask):
    client, service = ask(REPLY)
    parsed = client.responses.parse(model="m", input="hi", text_format=City)
    assert parsed.output_parsed == City(city="Ulm")
    assert service.prompt.response_format.schema["properties"]["city"]["type"] == "string"
    type(parsed).model_validate(parsed.to_dict())


def test_streamed_and_whole_replies_are_the_same(ask):
    client, _ = ask(REPLY)
    *_, ended = client.responses.create(model="m", input="hi", stream=True)
    streamed = ended.response.to_dict()
    whole = client.responses.create(model="m", input="hi").to_dict()
    assert streamed | {"completed_at": 0} == whole | {"completed_at": 0}


def test_a_reply_cut_short_says_so(ask):
    client, _ = ask(CUT_SHORT)
    reply = client.responses.create(model="m", input="hi")
    assert (reply.status, reply.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_a_failure_in_mid_stream_is_told_in_its_own_words(ask):
    client, _ = ask(BROKEN)
    *_, failed = client.responses.create(model="m", input="hi", stream=True)
    assert failed.type == "response.failed"
    assert (failed.response.error.code, failed.response.error.message) == (
        "rate_limit_exceeded",
        "Later.",
    )


def test_a_refused_request_is_a_bad_request_that_names_the_field(ask):
    client, _ = ask(REPLY)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="m", input="hi", background=True)
    assert caught.value.param == "background"


def test_a_reply_sent_back_with_a_tools_output_keeps_every_part(ask):
    client, service = ask(REPLY)
    first = client.responses.create(model="m", input="hi", tools=[WEATHER])
    outputs = [
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "done"},
    ]
    client.responses.create(
        model="m",
        input=[{"role": "user", "content": "hi"}, *first.output, *outputs],
        tools=[WEATHER],
    )
    assistant = service.prompt.messages[1]
    assert assistant.parts == (
        Thinking("hm", "sig", "anthropic"),
        Text('{"city": "Ulm"}'),
        ToolCall("call_1", "weather", '{"city":"Ulm"}'),
        ToolCall("call_2", "apply_patch", "*** Begin", "custom"),
    )
    assert service.prompt.dropped == ()
