"""A thousand odd streams of each provider, on every way through the gateway: none cuts a client off
without a word.

Where bytes pass, the client gets exactly what the provider sent. Where they are translated, the
client gets a whole stream of its format, or one that ends in its format's error event.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest

from gateway.metering.quota import QuotaWatch
from gateway.providers import Opened
from gateway.providers.limits import watch_limits
from gateway.proxy.active_requests import ActiveRequests, Timeouts
from gateway.proxy.messages_tap import MessagesTap
from gateway.proxy.native import unstored
from gateway.proxy.relay import Tap, relay_stream
from gateway.proxy.responses_tap import ResponsesTap
from gateway.proxy.translation import Translation
from gateway.server.problems import Dialect, error_frame
from shared.bus.channels import AccessRecord, encode_payload
from shared.bus.records import pack, unpack
from shared.formats.registry import FORMATS, PROVIDER_FORMATS
from shared.formats.sse import events_in
from shared.runtime.errors import CCProxyError
from shared.runtime.exact_json import dump_json
from tests.fuzz.mutations import cut_anywhere, mutate_stream
from tests.fuzz.odd_streams import base_streams
from tests.support.replies import PROMPT
from tests.support.stream_laws import a_stream_is_whole_or_ends_in_an_error

STREAMS = 1000
SEED = 20_261_129
BASES = {provider: base_streams(provider) for provider in PROVIDER_FORMATS}
BOTH = pytest.mark.parametrize("provider", PROVIDER_FORMATS)
EVERY_CLIENT = pytest.mark.parametrize("client", FORMATS)


def odd_stream(provider: str, number: int) -> list[bytes]:
    """Return one stream of the family, in the pieces in which it arrives."""
    chance = random.Random(f"{SEED} {provider} {number}")
    return cut_anywhere(mutate_stream(chance.choice(BASES[provider]), chance), chance)


@cache
def odd_streams(provider: str) -> list[list[bytes]]:
    return [odd_stream(provider, number) for number in range(STREAMS)]


def new_record() -> AccessRecord:
    return AccessRecord("req_1", 0.0, billed_to="subscription")


def can_be_kept(record: AccessRecord) -> None:
    """Raise ClientError if analytics could not read the record, and AssertionError for a count no
    database takes.
    """
    (kept,) = unpack(encode_payload(pack([record])))
    counts = (
        kept.tokens_input,
        kept.tokens_output,
        kept.cache_read_tokens,
        kept.cache_write_tokens,
    )
    assert all(0 <= count < 2**63 for count in counts)


# --- translated ---


def translation(client: str, provider: str) -> Translation:
    prompt = replace(PROMPT, stream=True)
    return Translation(
        FORMATS[client], PROVIDER_FORMATS[provider], prompt, new_record(), "k3y", 7, {}
    )


def streamed(tap: Translation, chunks: list[bytes]) -> bytes:
    """Return what the client gets, as the relay ends it."""
    try:
        return b"".join(map(tap.feed, chunks)) + tap.end()
    except CCProxyError as error:
        return tap.fail(error)


@BOTH
@EVERY_CLIENT
def test_a_translated_odd_stream_is_whole_or_ends_in_an_error_event(
    provider: str, client: str
) -> None:
    for number, chunks in enumerate(odd_streams(provider)):
        tap = translation(client, provider)
        try:
            is_whole = a_stream_is_whole_or_ends_in_an_error(client, streamed(tap, chunks))
            assert is_whole == (tap.failed is None)
            assert tap.failed is None or 400 <= tap.failed.status <= 599
            assert not is_whole or dump_json(tap.write_whole())
            can_be_kept(tap.record)
        except Exception as error:
            raise AssertionError(f"stream {number} of {provider} for {client}") from error


# --- passed through ---


def taps(provider: str) -> Callable[[AccessRecord], Tap]:
    return MessagesTap if provider == "anthropic" else partial(ResponsesTap, untouched=True)


@BOTH
def test_a_tap_hands_on_every_byte_of_an_odd_stream(provider: str) -> None:
    for number, chunks in enumerate(odd_streams(provider)):
        record = new_record()
        tap = taps(provider)(record)
        assert b"".join(map(tap.feed, chunks)) + tap.end() == b"".join(chunks), (
            f"stream {number} of {provider}"
        )
        can_be_kept(record)


async def arriving(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def relayed(
    chunks: list[bytes], tap: Tap, dialect: Dialect
) -> tuple[bytes, CCProxyError | None]:
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    async def aclose() -> None:
        pass

    opened = Opened(200, [(b"content-type", b"text/event-stream")], arriving(chunks), aclose)
    write_error = partial(error_frame, dialect=dialect, request_id="req_1")
    failure = await relay_stream(
        opened, send, ActiveRequests(Timeouts()).open(), tap, write_error, b""
    )
    return b"".join(sent), failure


@BOTH
async def test_a_passed_odd_stream_ends_with_its_providers_end_or_with_an_error_event(
    provider: str,
) -> None:
    dialect: Dialect = "anthropic" if provider == "anthropic" else "openai_responses"
    for number, chunks in enumerate(odd_streams(provider)):
        record = new_record()
        data, failure = await relayed(chunks, taps(provider)(record), dialect)
        if failure is None:
            assert data == b"".join(chunks), f"stream {number} of {provider}"
            continue
        *passed, last = events_in(data)
        assert failure.kind == "upstream", f"stream {number} of {provider}"
        assert last.name == "error"
        assert [event.data for event in passed] == [
            event.data for event in events_in(b"".join(chunks))
        ][: len(passed)]


def test_a_completed_odd_stream_ends_or_says_that_it_did_not() -> None:
    """What the tap completes for clients that do not know the ChatGPT backend, streamed
    and folded.
    """
    for number, chunks in enumerate(odd_streams("openai_responses")):
        record = new_record()
        tap = ResponsesTap(record, untouched=False, echo=unstored({}))
        data = b"".join(map(tap.feed, chunks)) + tap.end()
        assert not tap.finished or data, f"stream {number}"
        assert dump_json(tap.response)
        can_be_kept(record)


async def test_odd_events_of_limits_teach_nothing_and_pass_unchanged() -> None:
    for chunks in odd_streams("openai_responses"):
        watch, record = QuotaWatch("codex"), new_record()
        passed = [
            chunk
            async for chunk in watch_limits(arriving(chunks), partial(watch.learn_event, record))
        ]
        assert passed == chunks
