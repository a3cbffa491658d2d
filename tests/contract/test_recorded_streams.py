"""Streams with the habits seen on the wire (padding, pings, empty `output`, calls side by side) →
the events they mean.

Each is also read cut at every byte: what arrives when must not matter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.formats.fold import WellFormed, fold
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
from shared.formats.registry import PROVIDER_FORMATS
from shared.formats.sse import Parser
from tests.support.replies import PROMPT

RECORDED = Path(__file__).parent.parent / "recorded"

GRAZ = {
    "type": "web_search_result",
    "url": "https://example.com/graz",
    "title": "Graz",
    "encrypted_content": "ZW5j",
}
CITED: dict[str, Any] = {
    "type": "web_search_result_location",
    "url": "https://example.com/graz",
    "title": "Graz",
    "cited_text": "Sunny.",
    "encrypted_index": "aWR4",
}
SEARCH = {
    "type": "server_tool_use",
    "id": "srvtoolu_r1",
    "name": "web_search",
    "input": {"query": "weather Graz"},
}
FOUND = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_r1",
    "content": [GRAZ | {"page_age": None}],
}

GOLDEN: dict[str, list[Event]] = {
    "messages_search_thinking_and_tools": [
        Start("msg_r1", "claude-opus-5-5", Usage(12, 4000, 300, 1)),
        Open(Thinking(vendor="anthropic")),
        Ping(),
        Delta("The weather is "),
        Delta("wanted."),
        Seal("c2lnbmVk", "anthropic"),
        Close(),
        Open(Opaque("anthropic", SEARCH)),
        Close(),
        Open(Opaque("anthropic", FOUND)),
        Close(),
        Open(Text("")),
        Cite(Citation("https://example.com/graz", "Graz", vendor="anthropic", data=CITED)),
        Delta("It is sunny"),
        Delta(" ☀️ \u2028today."),
        Close(),
        Open(ToolCall("toolu_r1", "open_window")),
        Close(),
        Stop(StopReason.TOOL_USE, Usage(15, 4000, 300, 91, 40), service_tier="standard"),
    ],
    "messages_overloaded_in_mid_stream": [
        Start("msg_r2", "claude-sonnet-5-5", Usage(9, output=1)),
        Open(Text("")),
        Delta("Once upon"),
        Close(),
        Fail("Overloaded", 529, "overloaded_error"),
    ],
    "messages_refusal_without_content": [
        Start("msg_r3", "claude-fable-5-2", Usage(30, output=1)),
        Stop(
            StopReason.REFUSAL,
            Usage(30),
            explanation="This request asks for something dangerous.",
            category="bio",
        ),
    ],
    "codex_reasoning_and_calls_with_empty_output": [
        Start("resp_r1", "gpt-6.1-sol"),
        Open(Thinking(vendor="openai", id="rs_r1")),
        Delta("Two tools "),
        Delta("are needed."),
        Seal("ZmluYWw=", "openai", "rs_r1"),
        Close(),
        Open(ToolCall("call_r1", "look_up")),
        Delta('{"name":'),
        Delta('"Graz"}'),
        Close(),
        Open(ToolCall("call_r2", "apply_patch", kind="custom")),
        Delta("*** Begin Patch\n"),
        Delta("*** End Patch"),
        Close(),
        Stop(StopReason.TOOL_USE, Usage(104, 896, 0, 60, 20)),
    ],
}


def read(name: str, *chunks: bytes) -> list[Event]:
    provider = PROVIDER_FORMATS["anthropic" if name.startswith("messages") else "openai_responses"]
    parser, reader = Parser(), WellFormed(provider.Reader(PROMPT))
    sent = [event for chunk in chunks for event in parser.feed(chunk)] + parser.end()
    told = [event for payload in sent for event in reader.feed(json.loads(payload.data))]
    return [*told, *reader.end()]


def test_every_recording_has_its_events() -> None:
    assert {path.stem for path in RECORDED.glob("*.sse")} == GOLDEN.keys()


@pytest.mark.parametrize("name", GOLDEN)
def test_a_recorded_stream_means_these_events(name: str) -> None:
    recorded = (RECORDED / f"{name}.sse").read_bytes()
    assert read(name, recorded) == GOLDEN[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_where_the_network_cuts_does_not_matter(name: str) -> None:
    recorded = (RECORDED / f"{name}.sse").read_bytes()
    assert read(name, *(recorded[at : at + 1] for at in range(len(recorded)))) == GOLDEN[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_a_stream_cut_anywhere_before_its_end_is_never_a_success(name: str) -> None:
    events = (RECORDED / f"{name}.sse").read_bytes().split(b"\n\n")[:-1]
    for length in range(len(events)):
        assert isinstance(fold(read(name, b"\n\n".join(events[:length]))), Fail)
    assert isinstance(fold(read(name, b"\n\n".join(events))), Reply | Fail)
