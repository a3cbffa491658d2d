"""A turn on the bus looks like any provider: frames as a stream, or folded into one message."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from gateway.metering.quota import QuotaWatch
from gateway.providers import Outgoing
from gateway.providers.sdk import Sdk, SdkFormat
from gateway.proxy.active_requests import ActiveRequests, Timeouts
from gateway.proxy.catalogue import Catalogue
from shared.accounts.models import claude_capabilities
from shared.accounts.quota import Quota, Window
from shared.bus.channels import (
    AccessRecord,
    Channel,
    KnownSession,
    Turn,
    TurnHead,
    TurnTail,
    encode_payload,
    left_key,
)
from shared.formats import chat
from shared.runtime.errors import (
    Busy,
    CCProxyError,
    ClientError,
    NoWorker,
    QuotaReached,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    WorkerLost,
)
from shared.runtime.metrics import LineMetrics, Metrics
from tests.unit.gateway.conftest import DELTA, END, START, frame

BLOCK = frame(
    "content_block_start",
    '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
)
HEAD = encode_payload(TurnHead("worker-1", 4.0, ["temperature"], "s-9", "subscription"))
TAIL = encode_payload(TurnTail(0.02, 3, 900.0))


async def no_models() -> list[Any]:
    return []


NO_MODELS = Catalogue(no_models, "anthropic", {})


class OneTurnBus:
    """Answers a call with `replies`; a reply that is an error is raised instead. `kept_by` alone
    answers with `kept`.
    """

    def __init__(self, *replies: bytes | CCProxyError) -> None:
        self.replies = replies
        self.kept: tuple[bytes | CCProxyError, ...] = ()
        self.kept_by = ""
        self.cut_off: dict[str, bytes] = {}
        self.turn: Turn | None = None
        self.asked: list[Channel] = []
        self.left = False

    async def get(self, key: str) -> bytes | None:
        if key.startswith("session:"):
            return encode_payload(KnownSession("t", 1, kept_by=self.kept_by))
        return self.cut_off.get(key)

    @contextlib.asynccontextmanager
    async def call(
        self, channel: Channel, payload: Turn, *, request_id: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        assert request_id == payload.request_id
        self.turn = payload
        self.asked.append(channel)
        try:
            yield self._read(self.kept if channel.server else self.replies)
        finally:
            self.left = True

    async def _read(self, replies: tuple[bytes | CCProxyError, ...]) -> AsyncIterator[bytes]:
        for reply in replies:
            if isinstance(reply, CCProxyError):
                raise reply
            yield reply


def sdk(bus: OneTurnBus, quota: QuotaWatch | None = None) -> Sdk:
    return Sdk(bus, NO_MODELS, quota or QuotaWatch("claude"), LineMetrics(Metrics()), max_waiting=9)  # type: ignore[arg-type]


def outgoing(stream: bool, **more: Any) -> Outgoing:
    body = orjson.dumps({"model": "claude-x", "stream": stream, "messages": [], **more})
    return Outgoing("POST", "/v1/messages", {}, body, AccessRecord("req_1", 0.0))


async def test_frames_pass_as_they_are_and_head_and_tail_are_noted() -> None:
    bus, request = OneTurnBus(HEAD, START + BLOCK, DELTA, END, TAIL), outgoing(stream=True)
    opened = await sdk(bus).open(request)
    assert opened.is_stream
    assert (b"x-ccproxy-ignored", b"temperature") in opened.headers
    assert b"".join([chunk async for chunk in opened.chunks]) == START + BLOCK + DELTA + END
    await opened.aclose()
    record = request.record
    assert (record.worker, record.queue_ms, record.session_id) == ("worker-1", 4.0, "s-9")
    assert record.billed_to == "subscription"
    assert (record.cost_sdk_usd, record.num_turns, record.worker_ms) == (0.02, 3, 900.0)


async def test_metadata_and_a_header_say_which_conversation_and_where() -> None:
    bus, request = OneTurnBus(HEAD, START, TAIL), outgoing(stream=True)
    request.document = {"stream": True, "metadata": {"session_id": "s", "cwd": "/srv/a"}}
    await sdk(bus).open(request)
    assert bus.turn is not None
    assert (bus.turn.session_id, bus.turn.working_directory) == ("s", "/srv/a")
    bus.turn = None
    request.headers[b"x-ccproxy-cwd"] = b"/srv/b"
    await sdk(bus).open(request)
    assert bus.turn.working_directory == "/srv/b"


def named() -> Outgoing:
    request = outgoing(stream=True)
    request.session = "s"
    return request


async def test_a_named_conversation_goes_to_who_keeps_it() -> None:
    bus = OneTurnBus()
    bus.kept_by, bus.kept = "w1's address", (HEAD, START + END, TAIL)
    await sdk(bus).open(named())
    assert [channel.server for channel in bus.asked] == ["w1's address"]


@pytest.mark.parametrize("declined", [NoWorker(), Busy()])
async def test_and_to_anybody_when_that_one_is_gone_or_busy(declined: CCProxyError) -> None:
    bus = OneTurnBus(HEAD, START + END, TAIL)
    bus.kept_by, bus.kept = "w1's address", (declined,)
    opened = await sdk(bus).open(named())
    assert [channel.server for channel in bus.asked] == ["w1's address", ""]
    assert b"".join([chunk async for chunk in opened.chunks]) == START + END


async def test_a_turn_that_was_cut_off_is_asked_of_who_still_has_it_by_the_same_caller_only() -> (
    None
):
    bus = OneTurnBus(HEAD, START + END, TAIL)
    await sdk(bus).open(named())
    assert bus.turn is not None
    bus.cut_off, bus.kept = {left_key(bus.turn.repeat): b"w2's address"}, (HEAD, START + END, TAIL)
    whole, other, more = outgoing(stream=False), named(), outgoing(stream=True, max_tokens=9)
    whole.session, other.record.caller, more.session = "s", "somebody else", "s"
    for request in (named(), whole, other, more):
        await sdk(bus).open(request)
    assert [channel.server for channel in bus.asked] == ["", "w2's address", "w2's address", "", ""]


async def test_what_was_begun_there_is_not_begun_again() -> None:
    bus = OneTurnBus(HEAD, START + END, TAIL)
    bus.kept_by, bus.kept = "w1's address", (HEAD, WorkerLost())
    with pytest.raises(WorkerLost):
        await sdk(bus).open(named())


async def test_the_line_is_as_long_as_the_owner_allows_and_is_counted() -> None:
    bus, metrics = OneTurnBus(Busy()), Metrics()
    provider = Sdk(bus, NO_MODELS, QuotaWatch("claude"), LineMetrics(metrics), max_waiting=9)  # type: ignore[arg-type]
    with pytest.raises(Busy):
        await provider.open(outgoing(stream=True))
    assert [channel.max_length for channel in bus.asked] == [9]
    bus.replies = (HEAD, START, TAIL)
    await provider.open(outgoing(stream=True))
    told = metrics.snapshot().decode()
    assert "ccproxy_sdk_queue_refused_total 1.0" in told
    assert "ccproxy_sdk_queue_waiting 0.0" in told
    assert "ccproxy_sdk_queue_wait_seconds_sum 0.004" in told


async def test_a_whole_reply_is_the_stream_folded() -> None:
    bus = OneTurnBus(HEAD, START + BLOCK + DELTA[:9], DELTA[9:] + END, TAIL)
    opened = await sdk(bus).open(outgoing(stream=False))
    assert not opened.is_stream
    message = orjson.loads(b"".join([chunk async for chunk in opened.chunks]))
    assert message["content"] == [{"type": "text", "text": "a"}]
    assert (message["stop_reason"], message["usage"]) == (
        "end_turn",
        {"input_tokens": 3, "output_tokens": 7},
    )
    assert bus.left


async def test_a_whole_reply_ends_with_the_answer_and_tells_of_the_run_beside_it() -> None:
    about = [
        {"type": kind, "source": "claude_code_sdk"} for kind in ("system_message", "result_message")
    ]
    starts = [
        {"type": "content_block_start", "index": at, "content_block": block}
        for at, block in enumerate(about, 1)
    ]
    told = b"".join(frame("content_block_start", orjson.dumps(start).decode()) for start in starts)
    opened = await sdk(OneTurnBus(HEAD, START + BLOCK + DELTA + told + END, TAIL)).open(
        outgoing(stream=False)
    )
    message = orjson.loads(b"".join([chunk async for chunk in opened.chunks]))
    assert (message["content"][-1]["text"], message["claude_code_sdk"]) == ("a", about)


async def test_what_a_turn_told_of_the_subscription_is_learned_even_when_it_failed() -> None:
    windows = {"five_hour": {"utilization": 1.0, "resetsAt": time.time() + 60}}
    watch, tail = QuotaWatch("claude"), encode_payload(TurnTail(limits={"unifiedWindows": windows}))
    with pytest.raises(UpstreamRefused):
        await sdk(OneTurnBus(HEAD, tail, UpstreamRefused(status=429)), watch).open(
            outgoing(stream=True)
        )
    assert watch.quota is not None


async def test_leaving_early_leaves_the_call() -> None:
    bus = OneTurnBus(HEAD, START, DELTA, END)
    opened = await sdk(bus).open(outgoing(stream=True))
    await opened.aclose()
    assert bus.left


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refusal_before_the_first_frame_keeps_its_status(stream: bool) -> None:
    bus = OneTurnBus(HEAD, UpstreamRefused(status=429, body=b"{}"))
    with pytest.raises(UpstreamRefused) as refused:
        await sdk(bus).open(outgoing(stream=stream))
    assert refused.value.status == 429
    assert bus.left


async def test_an_error_event_fails_a_whole_reply() -> None:
    error = frame("error", '{"type":"error","error":{"type":"api_error","message":"broke"}}')
    with pytest.raises(UpstreamRefused) as refused:
        await sdk(OneTurnBus(HEAD, START, error)).open(outgoing(stream=False))
    assert b"broke" in refused.value.body


async def test_a_turn_that_just_ends_is_an_error() -> None:
    with pytest.raises(UpstreamError, match="without an answer"):
        await sdk(OneTurnBus(HEAD)).open(outgoing(stream=True))
    with pytest.raises(UpstreamError, match="before its last event"):
        await sdk(OneTurnBus(HEAD, START)).open(outgoing(stream=False))


async def test_a_lost_worker_is_met_in_mid_stream() -> None:
    opened = await sdk(OneTurnBus(HEAD, START, WorkerLost())).open(outgoing(stream=True))
    with pytest.raises(WorkerLost):
        _ = [chunk async for chunk in opened.chunks]


async def test_the_owners_stop_holds_for_a_subscription_used_through_the_sdk_too() -> None:
    watch, now = QuotaWatch("claude", stop_at=0.9), time.time()
    watch.adopt(Quota("claude", now, [Window("5h", 0.95, 18_000, now + 3600)]))
    bus = OneTurnBus(HEAD, START + END, TAIL)
    provider = sdk(bus, watch)
    opened = await provider.open(
        outgoing(stream=True)
    )  # whose programs they are is not known before the first turn
    await opened.aclose()
    bus.turn = None
    with pytest.raises(QuotaReached):
        await provider.open(outgoing(stream=True))
    assert bus.turn is None


@pytest.mark.parametrize("mode", ["forward", "formatted", "ignore", " Ignore "])
async def test_a_header_says_how_the_agents_tools_are_shown(mode: str) -> None:
    bus, request = OneTurnBus(HEAD, START, TAIL), outgoing(stream=True)
    request.headers[b"x-ccproxy-sdk-messages"] = mode.encode()
    await sdk(bus).open(request)
    assert bus.turn is not None
    assert bus.turn.message_mode == mode.strip().lower()


async def test_an_unknown_way_to_show_the_agents_tools_is_refused() -> None:
    request = outgoing(stream=True)
    request.headers[b"x-ccproxy-sdk-messages"] = b"everything"
    with pytest.raises(
        ClientError, match="x-ccproxy-sdk-messages: 'everything' is not one of forward"
    ):
        await sdk(OneTurnBus(HEAD, START, TAIL)).open(request)


async def test_the_same_turn_shown_in_another_way_is_not_a_repeat() -> None:
    bus = OneTurnBus(HEAD, START, TAIL)
    repeats = []
    for mode in (b"ignore", b"forward", b"forward"):
        request = outgoing(stream=True)
        request.headers[b"x-ccproxy-sdk-messages"] = mode
        await sdk(bus).open(request)
        assert bus.turn is not None
        repeats.append(bus.turn.repeat)
    assert repeats[0] != repeats[1] == repeats[2]


class WaitingBus(OneTurnBus):
    """Nobody takes a turn until `taken` is set; `placed` turns wait."""

    def __init__(self, *replies: bytes | CCProxyError) -> None:
        super().__init__(*replies)
        self.taken = asyncio.Event()
        self.placed = 0

    async def _read(self, replies: tuple[bytes | CCProxyError, ...]) -> AsyncIterator[bytes]:
        self.placed += 1
        await self.taken.wait()
        for reply in replies:
            assert isinstance(reply, bytes)
            yield reply


async def test_the_wait_for_a_worker_is_no_silence_of_the_provider() -> None:
    bus = WaitingBus(HEAD, START, END, TAIL)
    async with ActiveRequests(Timeouts(first_byte=0.05)) as active_requests:
        active = active_requests.open()
        request = outgoing(stream=True)
        request.active = active
        active.begin_waiting(0.05, asyncio.Event().wait)  # type: ignore[arg-type]
        with pytest.raises(UpstreamTimeout, match="No SDK worker has been free"), active:
            await sdk(bus).open(request)
        active_requests.close(active)


async def test_a_turn_that_a_worker_has_taken_keeps_the_limits_of_the_worker() -> None:
    bus, request = WaitingBus(HEAD, START, END, TAIL), outgoing(stream=True)
    bus.taken.set()
    request.active = ActiveRequests(Timeouts(first_byte=1)).open()
    await sdk(bus).open(request)
    assert request.active.limit == math.inf
    assert "SDK worker" in request.active.silence


async def test_bodies_that_wait_in_redis_are_bounded_together() -> None:
    bus = WaitingBus(HEAD, START, END, TAIL)
    provider = Sdk(
        *(bus, NO_MODELS, QuotaWatch("claude"), LineMetrics(Metrics())),  # type: ignore[arg-type]
        max_waiting=9,
        max_waiting_bytes=len(outgoing(stream=True).body) + 1,
    )
    waiting = asyncio.create_task(provider.open(outgoing(stream=True)))
    async with asyncio.timeout(5):
        while not bus.placed:  # noqa: ASYNC110 - the loop is asked, not the clock
            await asyncio.sleep(0)
    with pytest.raises(Busy, match="too large together"):
        await provider.open(outgoing(stream=True))
    bus.taken.set()
    await waiting
    await provider.open(outgoing(stream=True))


def test_what_the_program_has_no_option_for_is_left_out_and_named_in_the_clients_words() -> None:
    prompt = chat.read_prompt(
        {
            "model": "m",
            "messages": [{"role": "user", "content": "hi"}],
            "temperature": 0.5,
            "stop": "x",
            "user": "somebody",
            "reasoning_effort": "high",
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "parallel_tool_calls": False,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}},
            },
        }
    )
    written = SdkFormat().write_prompt(prompt, claude_capabilities("claude-opus-5-5", []))
    assert written.body.keys() == {
        "model",
        "max_tokens",
        "stream",
        "system",
        "messages",
        "tools",
        "thinking",
    }
    assert written.body["thinking"] == {"type": "adaptive"}
    assert "JSON Schema" in written.body["system"][0]["text"]
    assert set(written.dropped) == {
        "temperature", "stop", "user", "reasoning_effort", "parallel_tool_calls", "response_format",
    }  # fmt: skip
