"""Replies, and the events they may arrive as, for property tests: every part, stop reason and
vendor comes up.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from shared.formats.fold import unfold
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
    Tool,
    ToolCall,
    Usage,
    Vendor,
)

PROMPT = Prompt(
    "a-model", tools=(Tool("look_up"), Tool("apply_patch", kind="custom")), include_usage=True
)

LETTERS = {
    Start: "S",
    Open: "O",
    Delta: "d",
    Cite: "c",
    Seal: "s",
    Close: "C",
    Stop: "E",
    Fail: "F",
    Ping: "",
}
GRAMMAR = re.compile(r"S(O[dcs]*C)*(E|F)")

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SOME_TEXT = TEXT.filter(bool)
IDS = st.from_regex(r"[a-z]{2,5}_[a-zA-Z0-9]{1,12}", fullmatch=True)
TIER: dict[Vendor, str] = {"anthropic": "standard", "openai": "default"}
COUNT = st.integers(0, 10**6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT, lambda inner: st.lists(inner, max_size=3)
)
ARGUMENTS = st.dictionaries(TEXT, JSON, min_size=1, max_size=3).map(
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
)


def keeps_grammar(events: list[Event]) -> bool:
    return GRAMMAR.fullmatch("".join(LETTERS[type(event)] for event in events)) is not None


def citations(vendor: Vendor) -> st.SearchStrategy[Citation]:
    url = "https://example.com/a"
    if vendor == "openai":
        mark = {"type": "url_citation", "url": url, "start_index": 0, "end_index": 1}
        return SOME_TEXT.map(
            lambda title: Citation(url, title, 0, 1, "openai", mark | {"title": title})
        )
    page = {"type": "web_search_result_location", "cited_text": "c", "encrypted_index": "e"}
    return SOME_TEXT.map(
        lambda title: Citation(
            url, title, vendor="anthropic", data=page | {"url": url, "title": title}
        )
    )


def parts(vendor: Vendor) -> st.SearchStrategy[Any]:
    sealed = st.builds(
        Thinking, TEXT, SOME_TEXT, st.just(vendor), IDS if vendor == "openai" else st.just("")
    )
    function = st.builds(ToolCall, IDS, st.just("look_up"), ARGUMENTS)
    custom = st.builds(ToolCall, IDS, st.just("apply_patch"), SOME_TEXT, st.just("custom"))
    cited = st.builds(Text, SOME_TEXT, st.lists(citations(vendor), max_size=2).map(tuple))
    if vendor == "openai":
        return st.one_of(cited, sealed, function, custom, st.builds(Refusal, SOME_TEXT))
    redacted = st.builds(
        Thinking, st.just(""), SOME_TEXT, st.just("anthropic"), st.just(""), st.just(True)
    )
    search = {
        "type": "server_tool_use",
        "id": "srvtoolu_1",
        "name": "web_search",
        "input": {"query": "x"},
    }
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    opaque = st.sampled_from([Opaque("anthropic", search), Opaque("anthropic", found)])
    return st.one_of(cited, sealed, function, custom, redacted, opaque)


def _with_own_id(number: int, part: Any) -> Any:
    return replace(part, id=f"{part.id}{number}") if getattr(part, "id", "") else part


@st.composite
def replies(draw: st.DrawFn, vendor: Vendor) -> Reply:
    """What this vendor can say: a call ends in TOOL_USE or early, an OpenAI model knows four ends
    only.
    """
    content = tuple(
        _with_own_id(number, part)
        for number, part in enumerate(draw(st.lists(parts(vendor), max_size=5)))
    )
    calls = any(isinstance(part, ToolCall) for part in content)
    refuses = any(isinstance(part, Refusal) for part in content)
    early = [StopReason.MAX_TOKENS, StopReason.REFUSAL]
    normal = [StopReason.TOOL_USE] if calls else [StopReason.END_TURN]
    if vendor == "anthropic":
        early.append(StopReason.CONTEXT_WINDOW)
        normal += [] if calls else [StopReason.STOP_SEQUENCE, StopReason.PAUSE_TURN]
    if refuses:
        normal, early = [StopReason.REFUSAL], []
    reason = draw(st.sampled_from(normal + early))
    output = draw(COUNT)
    usage = Usage(draw(COUNT), draw(COUNT), draw(COUNT), output, draw(st.integers(0, output)))
    end = Stop(reason, usage, service_tier=draw(st.sampled_from([TIER[vendor], "priority"])))
    if vendor == "anthropic" and reason is StopReason.STOP_SEQUENCE:
        end = replace(end, stop_sequence=draw(SOME_TEXT))
    if vendor == "anthropic" and reason is StopReason.REFUSAL:
        end = replace(end, explanation=draw(SOME_TEXT), category="cyber")
    return Reply(draw(IDS), "a-model", content, end)


@st.composite
def streams(draw: st.DrawFn, reply: Reply) -> list[Event]:
    """One of the many streams a reply may arrive as: deltas cut anywhere, pings anywhere after the
    start.
    """
    events: list[Event] = []
    for event in unfold(reply):
        if isinstance(event, Delta):
            cuts = sorted(
                {0, len(event.text), *draw(st.lists(st.integers(0, len(event.text)), max_size=3))}
            )
            events += [Delta(event.text[a:b]) for a, b in itertools.pairwise(cuts)]
        else:
            events.append(event)
        if draw(st.integers(0, 5)) == 0 and not isinstance(event, Stop):
            events.append(Ping())
    return events
