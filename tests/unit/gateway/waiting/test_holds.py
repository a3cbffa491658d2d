"""Held requests between a fake clock and a scripted provider."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest

from gateway.providers import Opened, Outgoing
from gateway.proxy.active_requests import ActiveRequest, ActiveRequests, Timeouts
from gateway.server.guard import Caller
from gateway.waiting.hold import Hold
from gateway.waiting.holds import HoldBounds, Holds
from gateway.waiting.priorities import Priority
from gateway.waiting.reset_rooms import MARGIN_SECONDS, ResetRooms
from gateway.waiting.waiting_list import WaitingList
from shared.accounts.quota import Quota, Window
from shared.bus.channels import AccessRecord
from shared.formats import messages
from shared.runtime.errors import (
    CallerGone,
    CCProxyError,
    NotAuthorized,
    QuotaReached,
    SpendLimitReached,
    Stopping,
    UpstreamRefused,
)
from shared.runtime.metrics import Metrics, WaitingMetrics
from tests.support.fake_clock import FakeClock, settle
from tests.unit.gateway.conftest import AbsentBus

HOUR = 3600.0
BODY = b'{"model": "claude-x", "messages": []}'
STREAM = [b"event: one\n\n", b"event: two\n\n"]

Answer = Opened | CCProxyError


class Sender:
    """A provider that gives its answers one after the other."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[float, bytes]] = []
        self.closed = 0
        self.clock: FakeClock | None = None

    async def __call__(self, request: Outgoing) -> Opened:
        assert self.clock is not None
        self.sent.append((self.clock.now(), request.serialised()))
        answer = self.answers.pop(0)
        if isinstance(answer, CCProxyError):
            raise answer
        answer.aclose = self._close
        return answer

    async def _close(self) -> None:
        self.closed += 1


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def unclosed() -> None:
    raise AssertionError("replaced by the sender")


def answered(status: int = 200, *chunks: bytes, stream: bool = False) -> Opened:
    kind = b"text/event-stream" if stream else b"application/json"
    headers = [(b"content-type", kind), (b"request-id", b"req_up")]
    return Opened(status, headers, pieces(*chunks), unclosed)


def used_up(resets_at: float, retry_after: str = "1") -> Opened:
    opened = answered(429, b'{"type":"error","error":{"type":"rate_limit_error","message":"no"}}')
    told = {
        "status": "rejected",
        "5h-status": "rejected",
        "5h-utilization": "1.0",
        "5h-reset": f"{resets_at:.0f}",
    }
    opened.headers += [
        (f"anthropic-ratelimit-unified-{name}".encode(), value.encode())
        for name, value in told.items()
    ]
    opened.headers.append((b"retry-after", retry_after.encode()))
    return opened


async def nothing() -> None:
    return


class House:
    """The holds of one gateway."""

    def __init__(self, clock: FakeClock, rooms: ResetRooms, **bounds: Any) -> None:
        self.clock = clock
        self.metrics = Metrics()
        self.active_requests = ActiveRequests(Timeouts())
        self.quota: Quota | None = None
        self.ended_tokens: set[str] = set()
        bus: Any = AbsentBus()
        self.waiting = WaitingList(bus, clock)
        usual = {"longest_seconds": 6 * HOUR, "max_held": 10, "max_bytes": 1000}
        self.holds = Holds(
            HoldBounds(**(usual | bounds)),
            rooms,
            self.waiting,
            WaitingMetrics(self.metrics),
            clock,
            quota_of=lambda _: self.quota,
            is_valid=lambda digest: digest not in self.ended_tokens,
        )

    def send(
        self,
        sender: Sender,
        *,
        seconds: float = math.inf,
        stream: bool = False,
        admit: Callable[[], Any] = nothing,
        provider: str = "claude",
    ) -> Sent:
        sender.clock = self.clock
        return Sent(self, sender, Hold(seconds, admit), stream, provider)

    def count(self, outcome: str) -> float:
        labels = {"outcome": outcome, "provider": "claude"}
        return self.metrics.registry.get_sample_value("ccproxy_holds_total", labels) or 0.0


class Sent:
    """One request on its way, as the exchange runs it."""

    def __init__(
        self, house: House, sender: Sender, hold: Hold, stream: bool, provider: str
    ) -> None:
        record = AccessRecord("req_1", 0.0, provider=provider, model="claude-x", streaming=stream)
        record.client_format = "anthropic"
        self.request = Outgoing("POST", "/v1/messages", {}, BODY, record, orjson.loads(BODY))
        self.request.caller = Caller("night", frozenset({"use"}), digest="digest")
        self.pings = 0
        self.opened: Opened | None = None
        self._active: ActiveRequest | None = None
        self.body = b""
        self.task = asyncio.create_task(self._run(house, sender, hold))

    async def _run(self, house: House, sender: Sender, hold: Hold) -> bytes:
        self._active = self.request.active = active = house.active_requests.open()
        active.receive_bytes(len(BODY))
        active.begin_waiting(600, None)
        try:
            with active:
                self.opened = await house.holds.open(
                    self.request, hold, Priority.ORDINARY, sender, messages
                )
                active.start_pings(self._ping)
                async for chunk in self.opened.chunks:
                    self.body += chunk
            return self.body
        finally:
            if self.opened is not None:
                await self.opened.aclose()
            house.active_requests.close(active)

    async def _ping(self) -> None:
        self.pings += 1

    @property
    def active(self) -> ActiveRequest:
        assert self._active is not None
        return self._active


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def rooms(clock: FakeClock) -> AsyncIterator[ResetRooms]:
    async with ResetRooms(clock, chance=lambda: 0.0) as opened:
        yield opened


@pytest.fixture
def house(clock: FakeClock, rooms: ResetRooms) -> House:
    return House(clock, rooms)


async def test_a_whole_request_waits_for_the_reset_and_is_then_sent_again(house: House) -> None:
    resets_at = house.clock.now() + HOUR
    sender = Sender(used_up(resets_at), answered(200, b"reply"))
    sent = house.send(sender)
    await house.clock.advance(HOUR)
    assert (len(sender.sent), sender.closed) == (1, 1)
    assert (house.holds.held, house.holds.held_bytes) == (1, len(BODY))
    await house.clock.advance(MARGIN_SECONDS)
    assert await sent.task == b"reply"
    assert sender.sent[1] == (resets_at + MARGIN_SECONDS, BODY)
    assert sent.request.document == orjson.loads(BODY)
    assert sent.request.record.queue_ms == pytest.approx(1000 * (HOUR + MARGIN_SECONDS))
    assert (house.holds.held, house.holds.held_bytes) == (0, 0)
    assert house.count("sent") == 1


async def test_a_stream_begins_at_once_with_a_ping_and_goes_on_after_the_reset(
    house: House,
) -> None:
    resets_at = house.clock.now() + HOUR
    sender = Sender(used_up(resets_at), answered(200, *STREAM, stream=True))
    sent = house.send(sender, stream=True)
    await settle()
    assert sent.opened is not None
    assert (sent.opened.status, sent.opened.is_stream) == (200, True)
    assert dict(sent.opened.headers)[b"x-ccproxy-held-until"].startswith(b"2026-")
    assert (sent.pings, sent.body) == (1, b"")
    await house.clock.advance(HOUR + MARGIN_SECONDS)
    assert await sent.task == b"".join(STREAM)
    assert sent.request.record.upstream_request_id == "req_up"
    assert sender.closed == 2


async def test_people_see_for_which_limit_a_request_waits_and_until_when(house: House) -> None:
    resets_at = house.clock.now() + HOUR
    sent = house.send(Sender(used_up(resets_at), answered()))
    await settle()
    (shown,) = house.waiting.own()
    assert (shown.waits_for, shown.limit) == ("reset", "the 5-hour window of claude")
    assert (shown.until, shown.since) == (resets_at, house.clock.now())
    await house.clock.advance(HOUR + MARGIN_SECONDS)
    await sent.task
    assert house.waiting.own() == []


async def test_a_request_without_a_refusal_is_not_touched(house: House) -> None:
    sender = Sender(answered(200, b"reply"))
    assert await house.send(sender).task == b"reply"
    assert house.holds.held == 0


@pytest.mark.parametrize(
    "answer",
    [
        answered(429, b'{"error": {"type": "rate_limit_error"}}'),
        answered(529, b"{}"),
        answered(400, b"{}"),
    ],
)
async def test_other_refusals_pass_at_once(house: House, answer: Opened) -> None:
    sent = house.send(Sender(answer))
    await sent.task
    assert sent.opened is answer
    assert house.count("refused") == 0


async def test_a_limit_of_the_token_is_waited_for_before_anything_is_sent(house: House) -> None:
    resets_at = house.clock.now() + HOUR
    refusals = [SpendLimitReached("no", limit="the limit of $5/day", resets_at=resets_at)]

    async def admit() -> None:
        if refusals:
            raise refusals.pop()

    sender = Sender(answered(200, b"reply"))
    sent = house.send(sender, admit=admit)
    await settle()
    assert sender.sent == []
    await house.clock.advance(HOUR + MARGIN_SECONDS)
    assert await sent.task == b"reply"


async def test_the_owners_own_stop_is_waited_for(house: House) -> None:
    resets_at = house.clock.now() + HOUR
    refusal = QuotaReached("no", limit="the 5-hour window of claude", resets_at=resets_at)
    sent = house.send(Sender(refusal, answered(200, b"reply")))
    await house.clock.advance(HOUR + MARGIN_SECONDS)
    assert await sent.task == b"reply"


async def test_a_turn_of_sdk_is_held_by_the_windows_that_its_subscription_reported(
    house: House,
) -> None:
    now = house.clock.now()
    windows = [Window("5h", 1.0, 5 * HOUR, now + HOUR), Window("7d", 0.5, 7 * 24 * HOUR, now + 9e4)]
    house.quota = Quota("claude", now, windows)
    refusal = UpstreamRefused("limit", status=429, body=b"{}")
    sent = house.send(Sender(refusal, answered(200, b"reply")), provider="sdk")
    await settle()
    assert house.waiting.own()[0].limit == "the 5-hour window of claude"
    await house.clock.advance(HOUR + MARGIN_SECONDS)
    assert await sent.task == b"reply"


async def test_a_turn_of_sdk_whose_windows_are_not_used_up_gets_its_refusal(house: House) -> None:
    now = house.clock.now()
    house.quota = Quota("claude", now, [Window("5h", 0.4, 5 * HOUR, now + HOUR)])
    with pytest.raises(UpstreamRefused):
        await house.send(Sender(UpstreamRefused("limit", status=429)), provider="sdk").task


async def test_a_reset_that_was_none_is_waited_for_again_with_growing_pauses(house: House) -> None:
    now = house.clock.now()
    # The provider's clock is behind: it names the same reset as before.
    sender = Sender(*(used_up(now + 10) for _ in range(4)), answered())
    sent = house.send(sender)
    await house.clock.advance(60)
    await sent.task
    times = [at - now for at, _ in sender.sent]
    assert times == [0, 11, 14, 19, 28]


async def test_a_reset_after_the_longest_hold_passes_the_refusal_with_the_reason(
    house: House,
) -> None:
    sent = house.send(Sender(used_up(house.clock.now() + 7 * HOUR)))
    await sent.task
    assert sent.opened is not None
    assert sent.opened.status == 429
    reason = dict(sent.opened.headers)[b"x-ccproxy-not-held"].decode()
    assert reason.startswith("the 5-hour window of claude is reset at 2026-")
    assert reason.endswith("after the longest hold")
    assert house.count("refused") == 1


async def test_a_request_waits_no_longer_than_it_asked_for(house: House) -> None:
    sent = house.send(Sender(used_up(house.clock.now() + HOUR)), seconds=60)
    await sent.task
    assert sent.opened is not None
    assert sent.opened.status == 429


async def test_one_more_request_than_may_be_held_gets_its_refusal(
    clock: FakeClock, rooms: ResetRooms
) -> None:
    house = House(clock, rooms, max_held=1)
    resets_at = clock.now() + HOUR
    first = house.send(Sender(used_up(resets_at), answered()))
    await settle()
    refusal = QuotaReached("no", limit="the 5-hour window of claude", resets_at=resets_at)
    with pytest.raises(QuotaReached) as refused:
        await house.send(Sender(refusal)).task
    assert refused.value.headers["x-ccproxy-not-held"] == (
        "1 requests are held already (QUOTA__MAX_HELD)"
    )
    await clock.advance(HOUR + MARGIN_SECONDS)
    await first.task


async def test_the_bodies_of_held_requests_are_bounded_together(
    clock: FakeClock, rooms: ResetRooms
) -> None:
    house = House(clock, rooms, max_bytes=len(BODY) + 1)
    first = house.send(Sender(used_up(clock.now() + HOUR), answered()))
    await settle()
    second = house.send(Sender(used_up(clock.now() + HOUR)))
    await second.task
    assert second.opened is not None
    assert second.opened.status == 429
    await clock.advance(HOUR + MARGIN_SECONDS)
    await first.task


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_its_hold_and_nothing_is_sent(
    house: House, stream: bool
) -> None:
    sender = Sender(used_up(house.clock.now() + HOUR))
    sent = house.send(sender, stream=stream)
    await settle()
    sent.active.interrupt(CallerGone())
    with pytest.raises(CallerGone):
        await sent.task
    assert house.holds.held == 0
    assert house.waiting.own() == []
    await house.clock.advance(2 * HOUR)
    assert len(sender.sent) == 1
    assert house.count("ended") == 1


async def test_a_gateway_that_stops_ends_its_held_requests_first(house: House) -> None:
    sent = house.send(Sender(used_up(house.clock.now() + HOUR)))
    await settle()
    house.active_requests.end_holds()
    with pytest.raises(Stopping, match="send it again") as ended:
        await sent.task
    assert ended.value.headers["retry-after"] == "1"
    assert house.holds.held == 0


async def test_a_gateway_that_stops_holds_no_further_request(house: House) -> None:
    house.active_requests.end_holds()
    with pytest.raises(Stopping):
        await house.send(Sender(used_up(house.clock.now() + HOUR))).task
    assert house.holds.held == 0


async def test_a_request_whose_token_has_ended_is_never_sent(house: House) -> None:
    sender = Sender(used_up(house.clock.now() + HOUR))
    sent = house.send(sender)
    await settle()
    house.ended_tokens.add("digest")
    await house.clock.advance(HOUR + MARGIN_SECONDS)
    with pytest.raises(NotAuthorized):
        await sent.task
    assert len(sender.sent) == 1


async def test_a_refusal_after_the_hold_ends_the_stream_in_the_providers_words(
    house: House,
) -> None:
    told = b'{"type":"error","error":{"type":"invalid_request_error","message":"too long"}}'
    sent = house.send(Sender(used_up(house.clock.now() + HOUR), answered(400, told)), stream=True)
    await house.clock.advance(HOUR + MARGIN_SECONDS)
    with pytest.raises(UpstreamRefused, match="too long") as refused:
        await sent.task
    assert (refused.value.status, refused.value.body) == (400, told)


async def test_the_time_limits_of_a_request_stand_still_while_it_is_held(house: House) -> None:
    sent = house.send(Sender(used_up(house.clock.now() + HOUR), answered()))
    await settle()
    assert sent.active.limit == math.inf
    await house.clock.advance(HOUR + MARGIN_SECONDS)
    await sent.task
    assert sent.active.limit == 600
