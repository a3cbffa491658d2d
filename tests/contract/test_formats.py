"""Every provider's reader with every client's writer, and each format with itself, under the laws
of `format_laws`.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.formats import chat, messages, responses
from shared.formats.fold import WellFormed
from shared.formats.ir import Event, Fail, Reply, Vendor
from tests.support import format_laws
from tests.support.replies import PROMPT, keeps_grammar, replies, streams

PROVIDERS: dict[str, Any] = {"anthropic": messages, "openai_responses": responses}
CLIENTS: dict[str, Any] = {
    "anthropic": messages,
    "openai_chat": chat,
    "openai_responses": responses,
}
SAYS: dict[str, Vendor] = {"anthropic": "anthropic", "openai_responses": "openai"}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


def said(provider: str) -> st.SearchStrategy[tuple[Reply, list[Event]]]:
    return replies(SAYS[provider]).flatmap(lambda reply: st.tuples(st.just(reply), streams(reply)))


@pytest.mark.parametrize("provider", PROVIDERS)
@given(data=st.data())
def test_reading_what_was_written_gives_the_reply_back(provider: str, data: st.DataObject) -> None:
    reply, events = data.draw(said(provider))
    format_laws.reading_back_gives_the_reply(PROVIDERS[provider], reply, events)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS)
@given(data=st.data())
def test_every_client_sees_what_every_provider_said(
    provider: str, client: str, data: st.DataObject
) -> None:
    reply, events = data.draw(said(provider))
    format_laws.a_client_sees_what_the_provider_said(
        PROVIDERS[provider], CLIENTS[client], client, reply, events
    )


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS)
@given(data=st.data())
def test_a_stream_adds_up_to_the_whole_reply(
    provider: str, client: str, data: st.DataObject
) -> None:
    reply, events = data.draw(said(provider))
    format_laws.streamed_and_whole_are_equal(CLIENTS[client], client, reply, events)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS)
@given(data=st.data())
def test_a_failure_anywhere_is_shown_as_one(
    provider: str, client: str, data: st.DataObject
) -> None:
    _, events = data.draw(said(provider))
    fail = Fail("It broke.", data.draw(st.sampled_from([400, 401, 429, 500, 502, 529])), "why")
    format_laws.a_failure_is_never_shown_as_success(CLIENTS[client], events, fail)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", ["anthropic", "openai_responses"])
@given(data=st.data())
def test_sealed_reasoning_passes_through_a_clients_history(
    provider: str, client: str, data: st.DataObject
) -> None:
    reply, events = data.draw(said(provider))
    format_laws.sealed_reasoning_comes_back(
        PROVIDERS[provider], CLIENTS[client], client, reply, events
    )


@pytest.mark.parametrize("provider", PROVIDERS)
@given(data=st.data())
def test_whatever_a_provider_sends_keeps_the_grammar(provider: str, data: st.DataObject) -> None:
    """Real payloads dropped, doubled, swapped and broken."""
    _, events = data.draw(said(provider))
    writer = PROVIDERS[provider].Writer(PROMPT, **format_laws.NAMES)
    payloads = [
        frame.data
        for event in events
        for frame in writer.feed(event)
        if isinstance(frame.data, dict)
    ]
    broken = st.sampled_from(payloads).flatmap(
        lambda payload: st.sampled_from(list(payload)).flatmap(
            lambda name: JSON.map(lambda value: {**payload, name: value})
        )
    )
    chosen = data.draw(
        st.lists(st.sampled_from(payloads) | broken | JSON, max_size=2 * len(payloads))
    )
    reader = WellFormed(PROVIDERS[provider].Reader(PROMPT))
    told = [event for payload in chosen for event in reader.feed(payload)] + [*reader.end()]  # type: ignore[arg-type]
    assert keeps_grammar(told)
