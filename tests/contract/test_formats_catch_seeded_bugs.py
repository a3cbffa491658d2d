"""The laws bite: formats with one deliberate bug each, and the law that must reject them.

Each bug is one that translators really had. A law that stops finding its bug has become decoration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from shared.formats import chat, messages, responses
from shared.formats.ir import (
    Close,
    Delta,
    Event,
    Fail,
    Json,
    Open,
    Prompt,
    Reply,
    Seal,
    Stop,
    StopReason,
    ToolCall,
    Vendor,
)
from shared.formats.written import Frame
from tests.support import format_laws
from tests.support.replies import replies, streams

Change = Callable[[Event], Sequence[Event]]
FORMATS: dict[str, Any] = {
    "anthropic": messages,
    "openai_chat": chat,
    "openai_responses": responses,
}

READ: dict[str, Vendor] = {"anthropic": "anthropic", "openai_responses": "openai"}


def misread(name: str, change: Change) -> Any:
    """A format whose reader tells other events than it read."""

    class Reader(FORMATS[name].Reader):  # type: ignore[misc]
        def feed(self, data: Json) -> list[Event]:
            return [told for event in super().feed(data) for told in change(event)]

    return _variant(name, Reader=Reader)


def miswrite(name: str, change: Callable[[Frame], Sequence[Frame]]) -> Any:
    """A format whose writer writes other frames than it should."""

    class Writer(FORMATS[name].Writer):  # type: ignore[misc]
        def feed(self, event: Event) -> list[Frame]:
            return [frame for written in super().feed(event) for frame in change(written)]

    return _variant(name, Writer=Writer)


def mishear(name: str, change: Change) -> Any:
    """A format whose writer takes events for others."""

    class Writer(FORMATS[name].Writer):  # type: ignore[misc]
        def feed(self, event: Event) -> list[Frame]:
            return [frame for heard in change(event) for frame in super(Writer, self).feed(heard)]

    return _variant(name, Writer=Writer)


def _variant(name: str, **mutants: Any) -> Any:
    return SimpleNamespace(**{**vars(FORMATS[name]), **mutants})


def without_tool_id(event: Event) -> Sequence[Event]:
    match event:
        case Open(ToolCall() as call):
            return (Open(replace(call, id="")),)
    return (event,)


def with_wrong_stop_reason(event: Event) -> Sequence[Event]:
    match event:
        case Stop(StopReason.MAX_TOKENS | StopReason.CONTEXT_WINDOW):
            return (replace(event, reason=StopReason.END_TURN),)
    return (event,)


def without_cache_tokens(event: Event) -> Sequence[Event]:
    match event:
        case Stop(usage=usage):
            return (replace(event, usage=replace(usage, cache_read=0)),)
    return (event,)


def without_seal(event: Event) -> Sequence[Event]:
    return () if isinstance(event, Seal) else (event,)


def failing_quietly(event: Event) -> Sequence[Event]:
    return (Stop(),) if isinstance(event, Fail) else (event,)


def _losing_last_delta() -> Change:
    """Holds each delta back until the next event, and forgets it at the block's end."""
    held: list[Event] = []

    def change(event: Event) -> Sequence[Event]:
        before = [] if isinstance(event, Close) else held.copy()
        held.clear()
        if isinstance(event, Delta):
            held.append(event)
            return before
        return [*before, event]

    return change


def at_index_0(frame: Frame) -> Sequence[Frame]:
    match frame.data:
        case {"index": _, **rest}:
            return (Frame(frame.name, {**rest, "index": 0}),)
        case {"choices": [{"delta": {"tool_calls": [{"index": _, **call}]}}], **rest}:
            delta = {"tool_calls": [{"index": 0, **call}]}
            return (
                Frame(
                    frame.name,
                    {**rest, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
                ),
            )
        case {"output_index": _, **rest}:
            return (Frame(frame.name, {**rest, "output_index": 0}),)
    return (frame,)


def pairs_law(provider: Any, client: Any, name: str) -> Callable[[Reply, list[Event]], None]:
    def law(reply: Reply, events: list[Event]) -> None:
        format_laws.a_client_sees_what_the_provider_said(provider, client, name, reply, events)

    return law


def reading_law(provider: Any) -> Callable[[Reply, list[Event]], None]:
    def law(reply: Reply, events: list[Event]) -> None:
        format_laws.reading_back_gives_the_reply(provider, reply, events)

    return law


def failure_law(client: Any) -> Callable[[Reply, list[Event]], None]:
    def law(reply: Reply, events: list[Event]) -> None:
        del reply
        format_laws.a_failure_is_never_shown_as_success(client, events, Fail("It broke."))

    return law


def whole_law(client: Any, name: str) -> Callable[[Reply, list[Event]], None]:
    def law(reply: Reply, events: list[Event]) -> None:
        format_laws.streamed_and_whole_are_equal(client, name, reply, events)

    return law


def _whole_without_citations(prompt: Prompt, reply: Reply, **names: Any) -> Json:
    bare = tuple(
        replace(part, citations=()) if hasattr(part, "citations") else part for part in reply.parts
    )
    return messages.write_reply(prompt, replace(reply, parts=bare), **names)


def bugs() -> Iterator[Any]:
    for name, vendor in READ.items():
        yield pytest.param(
            reading_law(misread(name, without_tool_id)), vendor, id=f"{name} reader drops tool ids"
        )
        yield pytest.param(
            reading_law(misread(name, with_wrong_stop_reason)),
            vendor,
            id=f"{name} reader hides a cut reply",
        )
        yield pytest.param(
            reading_law(misread(name, without_cache_tokens)),
            vendor,
            id=f"{name} reader loses cache tokens",
        )
        yield pytest.param(
            reading_law(misread(name, _losing_last_delta())),
            vendor,
            id=f"{name} reader loses the last delta",
        )
        yield pytest.param(
            reading_law(misread(name, without_seal)), vendor, id=f"{name} reader breaks seals"
        )
    for name in FORMATS:
        bug = miswrite(name, at_index_0)
        yield pytest.param(
            pairs_law(messages, bug, name), "anthropic", id=f"{name} writer numbers everything 0"
        )
        bug = mishear(name, without_tool_id)
        yield pytest.param(
            pairs_law(messages, bug, name), "anthropic", id=f"{name} writer drops tool ids"
        )
        bug = mishear(name, with_wrong_stop_reason)
        yield pytest.param(
            pairs_law(messages, bug, name), "anthropic", id=f"{name} writer hides a cut reply"
        )
        bug = mishear(name, without_cache_tokens)
        yield pytest.param(
            pairs_law(messages, bug, name), "anthropic", id=f"{name} writer loses cache tokens"
        )
        bug = mishear(name, _losing_last_delta())
        yield pytest.param(
            pairs_law(messages, bug, name), "anthropic", id=f"{name} writer loses the last delta"
        )
        yield pytest.param(
            failure_law(mishear(name, failing_quietly)),
            "anthropic",
            id=f"{name} writer ends failures well",
        )
    bug = _variant("anthropic", write_reply=_whole_without_citations)
    yield pytest.param(whole_law(bug, "anthropic"), "anthropic", id="whole and streamed differ")


@pytest.mark.parametrize(("law", "vendor"), [*bugs()])
def test_the_laws_find(law: Callable[[Reply, list[Event]], None], vendor: Vendor) -> None:
    with pytest.raises((AssertionError, LookupError)):
        search(law, vendor)


@pytest.mark.long
@pytest.mark.parametrize(("name", "vendor"), READ.items())
def test_the_laws_find_nothing_in_a_format_that_was_wrapped_and_not_changed(
    name: str, vendor: Vendor
) -> None:
    search(reading_law(misread(name, lambda event: (event,))), vendor)
    search(
        pairs_law(FORMATS[name], mishear("openai_chat", lambda event: (event,)), "openai_chat"),
        vendor,
    )


def search(law: Callable[[Reply, list[Event]], None], vendor: Vendor) -> None:
    """Generated only, not shrunk: that it is found is all there is to know."""

    @settings(
        max_examples=60,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        replies(vendor).flatmap(lambda reply: streams(reply).map(lambda events: (reply, events)))
    )
    def holds(both: tuple[Reply, list[Event]]) -> None:
        law(*both)

    holds()
