"""What the two providers answer: streams and whole bodies, on every way through the gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from gateway.metering.quota import QuotaWatch
from gateway.providers.limits import limits_in
from gateway.providers.refusals import in_envelope
from gateway.proxy.beside import message_of
from gateway.proxy.messages_tap import MessagesTap, note_whole_message
from gateway.proxy.native import parse_reply, unstored
from gateway.proxy.relay import Tap
from gateway.proxy.responses_tap import ResponsesTap, note_whole_response
from gateway.proxy.translated import parse_refusal_body, translated_refusal
from gateway.proxy.translation import Translation
from gateway.server.problems import Dialect, error_frame, render_error
from shared.accounts.quota import event_of_page, read_event, read_report
from shared.bus.channels import AccessRecord, encode_payload
from shared.bus.records import pack, unpack
from shared.formats.registry import FORMATS, PROVIDER_FORMATS
from shared.formats.responses.settings import with_settings
from shared.formats.sse import events_in
from shared.formats.written import Frame
from shared.runtime.errors import CCProxyError, UpstreamRefused
from shared.runtime.exact_json import dump_json, load_json
from tests.fuzz.odd_streams import ERRORS, whole_reply, written_stream
from tests.fuzz.targets.target import Target, chosen, hold, pieces_of, seed
from tests.support.format_laws import assemble
from tests.support.replies import PROMPT
from tests.support.stream_laws import (
    a_stream_is_whole_or_ends_in_an_error,
    is_input,
    payload_of,
    read_whole,
)

CLIENTS: tuple[Dialect, ...] = ("anthropic", "openai_chat", "openai_responses")
STATUSES = (400, 401, 403, 404, 413, 429, 500, 502, 503, 529)
NOTES = {"anthropic": note_whole_message, "openai_responses": note_whole_response}
USAGE_PAGE = {
    "plan_type": "plus",
    "credits": {"has_credits": True},
    "rate_limit": {"primary_window": {"used_percent": 9, "limit_window_seconds": 18000}},
}
REPORT = {
    "unifiedWindows": {"five_hour": {"utilization": 0.5, "resetsAt": 1_900_000_000}},
    "isUsingOverage": False,
}

IN_TWO_WAYS = frozenset({"input", "images", "annotations"})

Way = Callable[[str, int, bytes], None]


def new_record() -> AccessRecord:
    return AccessRecord("req_1", 0.0, billed_to="subscription")


def can_be_kept(record: AccessRecord) -> None:
    """Hold that analytics can read the record, and a database its counts."""
    (kept,) = unpack(encode_payload(pack([record])))
    counts = [value for name, value in asdict(kept).items() if "tokens" in name and value]
    hold(all(0 <= count < 2**63 for count in counts), "a database takes the counts")


# --- streams ---


def seen_in_stream(client: Dialect, data: bytes) -> Any:
    """Return what a client puts together from a stream: its blocks, its message, or its items."""
    frames = [Frame(event.name, payload_of(event.data)) for event in events_in(data)]
    # A model writes the input of a tool, so that it need not be JSON, which a message has.
    read = [frame for frame in frames if frame.name != ":" and not is_input(frame)]
    whole = assemble(client, read)
    part = {"anthropic": "content", "openai_chat": "message", "openai_responses": "output"}[client]
    return readable(whole.get(part))


def seen_in_reply(client: Dialect, reply: Any) -> Any:
    """Return the same of a whole reply."""
    if client == "openai_chat":
        return readable(reply["choices"][0]["message"])
    return readable(reply["content" if client == "anthropic" else "output"])


def readable(seen: Any) -> Any:
    """Return what was seen without what a stream and a reply spell in two ways: absent and empty,
    and lists that come in several deltas.
    """
    if isinstance(seen, list):
        return [readable(value) for value in seen]
    if isinstance(seen, dict):
        kept = {name: readable(value) for name, value in seen.items() if name not in IN_TWO_WAYS}
        return {name: value for name, value in kept.items() if value not in (None, "", [], {})}
    return seen


def translate(client: Dialect, provider: str, number: int, data: bytes) -> None:
    def streamed(pieces: list[bytes]) -> tuple[bytes, Translation]:
        prompt = replace(PROMPT, stream=True)
        tap = Translation(
            FORMATS[client], PROVIDER_FORMATS[provider], prompt, new_record(), "k3y", 7, {}
        )
        try:
            return b"".join(map(tap.feed, pieces)) + tap.end(), tap
        except CCProxyError as error:
            return tap.fail(error), tap

    sent, tap = streamed([data])
    is_whole = a_stream_is_whole_or_ends_in_an_error(client, sent)
    hold(is_whole == (tap.failed is None), "a failure is known")
    hold(tap.failed is None or 400 <= tap.failed.status <= 599, "a failure has a status")
    if is_whole:
        whole = read_whole(dump_json(tap.write_whole()))
        hold(seen_in_stream(client, sent) == seen_in_reply(client, whole), "a fold is the reply")
    can_be_kept(tap.record)
    in_pieces, cut = streamed(pieces_of(data, number))
    hold((cut.failed is None) == (tap.failed is None), "pieces end as the whole does")
    # A writer may join the deltas of one piece.
    if tap.failed is None:
        hold(cut.write_whole() == tap.write_whole(), "pieces are translated as the whole is")
        told = seen_in_stream(client, in_pieces)
        hold(told == seen_in_stream(client, sent), "a client sees the same in pieces")


def tap_of(provider: str) -> Callable[[AccessRecord], Tap]:
    return MessagesTap if provider == "anthropic" else partial(ResponsesTap, untouched=True)


def watch(provider: str, number: int, data: bytes) -> None:
    record = new_record()
    tap = tap_of(provider)(record)
    passed = b"".join(map(tap.feed, pieces_of(data, number))) + tap.end()
    hold(passed == data, "a tap hands on every byte")
    can_be_kept(record)
    at_once = new_record()
    whole = tap_of(provider)(at_once)
    hold(whole.feed(data) + whole.end() == data, "a tap hands on every byte")
    hold(whole.finished == tap.finished, "pieces end as the whole does")
    hold(encode_payload(at_once) == encode_payload(record), "pieces are counted as the whole is")


def complete(provider: str, number: int, data: bytes) -> None:
    """Check the stream that the tap of the ChatGPT backend completes."""

    def sent(pieces: list[bytes]) -> tuple[bytes, ResponsesTap]:
        tap = ResponsesTap(new_record(), untouched=False, echo=unstored({}), clock=lambda: 7.0)
        return b"".join(map(tap.feed, pieces)) + tap.end(), tap

    whole, tap = sent([data])
    hold(not tap.finished or bool(whole), "a finished stream has bytes")
    hold(bool(dump_json(tap.response)), "the response can be written")
    can_be_kept(tap.record)
    in_pieces, cut = sent(pieces_of(data, number))
    hold(events_in(in_pieces) == events_in(whole), "pieces are completed as the whole is")
    hold(cut.response == tap.response, "pieces have the response of the whole")
    hold(len(events_in(whole)) <= len(events_in(data)), "no event is added")


def learn_limits(provider: str, number: int, data: bytes) -> None:
    quota = QuotaWatch("codex")
    for event in limits_in(data):
        quota.learn_event(new_record(), event)


# --- whole bodies ---


def refuse(provider: str, number: int, body: bytes) -> None:
    status = STATUSES[number % len(STATUSES)]
    fail = PROVIDER_FORMATS[provider].read_error(parse_refusal_body(body), status)
    for client in CLIENTS:
        record = new_record()
        tap = Translation(FORMATS[client], PROVIDER_FORMATS[provider], PROMPT, record, "k3y", 7, {})
        refused = translated_refusal(tap, fail, [(b"retry-after", b"5")])
        hold(refused.status == status, "a refusal keeps its status")
        message = load_json(refused.body)["error"]["message"]
        hold(isinstance(message, str) and message != "", "a refusal has words")
        hold(render_error(refused, client, "req_1").status == status, "a status is kept")
        hold(error_frame(refused, client, "req_1").endswith(b"\n\n"), "a frame is whole")
        raw = UpstreamRefused("refused", status=status, body=body)
        hold(render_error(raw, client, "req_1").status == status, "a status is kept")
        can_be_kept(record)


def envelop(provider: str, number: int, body: bytes) -> None:
    status = STATUSES[number % len(STATUSES)]
    headers, enveloped = in_envelope(status, [(b"content-type", b"application/json")], body)
    document = load_json(enveloped)
    hold(document["error"].keys() >= {"message", "type", "param", "code"}, "an envelope is whole")
    waits = [int(value) for name, value in headers if name == b"retry-after"]
    hold(all(1 <= seconds < 10**9 for seconds in waits), "a wait is a number of seconds")


def note_whole(provider: str, number: int, body: bytes) -> None:
    record = new_record()
    record.status_code = 200 if number % 2 else STATUSES[number % len(STATUSES)]
    NOTES[provider](record, body)
    can_be_kept(record)
    told = message_of(PROVIDER_FORMATS[provider], body, record.status_code)
    hold(isinstance(told, str), "a message is a text")
    try:
        reply = parse_reply(body)
    except CCProxyError:
        return
    hold(bool(dump_json(with_settings(reply))), "a whole reply can be written")


def report_limits(provider: str, number: int, body: bytes) -> None:
    try:
        told = load_json(body)
    except json.JSONDecodeError:
        return
    if isinstance(told, dict):
        quotas = (read_report(told, 7.0), read_event(told, 7.0), read_event(event_of_page(told), 7))
        for quota in quotas:
            hold(quota is None or bool(encode_payload(quota)), "a quota can be stored")


WAYS: tuple[Way, ...] = (
    *(partial(translate, client) for client in CLIENTS),
    watch,
    complete,
    learn_limits,
    refuse,
    envelop,
    note_whole,
    report_limits,
)
STREAM_WAYS = 6


def check(provider: str, data: bytes) -> None:
    way, number, body = chosen(data, WAYS)
    way(provider, number, body)


def seeds(provider: str) -> list[bytes]:
    sent = written_stream(provider)
    stream = b"".join(b"event: %b\ndata: %b\n\n" % (each.name.encode(), each.data) for each in sent)
    short = stream.split(b"\n\n")
    streams = [stream, b"\n\n".join([*short[:4], *short[-3:]]), stream.replace(b"\n", b"\r\n")]
    bodies: list[Any] = [whole_reply(provider), *ERRORS[provider], USAGE_PAGE, REPORT]
    return [
        *(seed(way, each) for way in range(STREAM_WAYS) for each in streams),
        *(seed(way, each) for way in range(STREAM_WAYS, len(WAYS)) for each in bodies),
    ]


CLAUDE_REPLIES = Target(
    "claude-replies",
    "streams and bodies of Anthropic's service",
    partial(check, "anthropic"),
    partial(seeds, "anthropic"),
    form="stream",
)
CODEX_REPLIES = Target(
    "codex-replies",
    "streams and bodies of the ChatGPT backend and OpenAI's service",
    partial(check, "openai_responses"),
    partial(seeds, "openai_responses"),
    form="stream",
)
