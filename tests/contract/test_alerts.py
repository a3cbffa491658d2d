"""Alerts on a real Redis: two gateways and the simulator's quota, a provider that fails, a limit,
and a permission service that is restarted in between.
"""

from __future__ import annotations

import queue
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gateway.metering.token_ledger import TokenLedger
from permission_service.alerts.watch import AlertPolicy
from permission_service.notify.ways import ways_of
from shared.accounts.token_limits import Limits, parse_limit
from shared.bus import Bus
from shared.bus.alerts import LIMIT_REPORTS, LimitReport
from shared.bus.channels import ACCESS_RECORD, AccessRecord
from shared.bus.records import pack
from shared.settings.notify import NotifySettings
from tests.conftest import BusFactory
from tests.contract.conftest import OpenGateway
from tests.contract.test_notifications import QUICKLY, arrived
from tests.support.analytics_process import Analytics, analytics
from tests.support.permission_stack import running_desk, running_front
from tests.support.receivers import Receiver

__all__ = ["analytics"]  # a fixture

AT_ONCE = AlertPolicy(first_seconds=0.0, look_seconds=0.05, calm_seconds=0.2)
TOKEN = "sk-ant-oat01-fills-its-window"
HELLO = {"model": "claude-sonnet-5-5", "max_tokens": 9}
# Four bytes are a token of the simulator, whose window holds ten million: ten of these are 85 %.
LONG = "word " * 680_000


@asynccontextmanager
async def desk(redis_url: str, directory: Path, receiver: Receiver) -> AsyncIterator[None]:
    given = {"ntfy_topic": "a-secret-topic", "ntfy_url": receiver.url}
    ways = ways_of(NotifySettings.model_validate(given), time.time)
    rules = directory / "rules.toml"
    async with running_desk(redis_url, rules, notify_by=ways, notify=QUICKLY, alerts=AT_ONCE):
        yield


async def report_limit(bus: Bus, token: str) -> None:
    """Report a limit that is nearly reached: its alert shows that none came before it."""
    await bus.publish(LIMIT_REPORTS, LimitReport(token, "$5 a day", 0.8, time.time() + 3600))


@dataclass(frozen=True)
class LimitedToken:
    """The caller of a request with a limit of its own."""

    name: str = "chatbot"
    limits: Limits = (parse_limit("10 requests/day"),)
    at_once: int = 0


async def titles(receiver: Receiver, count: int) -> list[str]:
    return [(await arrived(receiver)).document["title"] for _ in range(count)]


@pytest.mark.long
async def test_a_window_that_two_gateways_see_fill_is_one_message_also_through_a_restart(
    redis_url: str,
    tmp_path: Path,
    open_gateway_at: OpenGateway,
    bus_factory: BusFactory,
) -> None:
    bus = await bus_factory("limits")
    login = {"api_key": None, "oauth_token": TOKEN}
    gateways = [await open_gateway_at(claude=login) for _ in range(2)]
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:

        async def say(url: str, text: str) -> None:
            body = HELLO | {"messages": [{"role": "user", "content": text}]}
            reply = await client.post(f"{url}/api/v1/messages", json=body)
            assert reply.status_code == 200, reply.text

        with Receiver() as receiver:
            async with desk(redis_url, tmp_path, receiver):
                for number in range(10):
                    await say(gateways[number % 2], f"{number} {LONG}")
                (title,) = await titles(receiver, 1)
            assert title.startswith("Claude: the 5h window is used to ")
            async with desk(redis_url, tmp_path, receiver):
                for gateway in gateways:
                    await say(gateway, "Hello")
                await report_limit(bus, "ci")
                assert await titles(receiver, 1) == ["Token ci: its limit is used to 80%"]
            with pytest.raises(queue.Empty):
                receiver.next(0)


@pytest.mark.long
async def test_a_provider_that_fails_is_one_message_and_its_recovery_another(
    redis_url: str, tmp_path: Path, analytics: Analytics
) -> None:
    bus = analytics.bus

    async def succeed(number: int) -> None:
        record = AccessRecord(
            f"good-{number}", time.time(), provider="claude", model="x", status_code=200
        )
        await bus.publish(ACCESS_RECORD, pack([record]))

    with Receiver() as receiver:
        async with running_front(redis_url) as front:
            async with desk(redis_url, tmp_path, receiver):
                for _ in range(6):
                    reply = await front.client.post("/api/v1/messages", json=HELLO)
                    assert reply.status_code == 502
                assert await titles(receiver, 1) == ["Claude fails"]
            # What still fails after a restart is known, and what was published meanwhile is read.
            await front.client.post("/api/v1/messages", json=HELLO)
            async with desk(redis_url, tmp_path, receiver):
                await report_limit(bus, "first")
                assert await titles(receiver, 1) == ["Token first: its limit is used to 80%"]
                await succeed(1)
                message = await arrived(receiver)
                assert message.document["title"] == "Claude answers again"
                assert message.document["priority"] == 2
                await report_limit(bus, "second")
                assert await titles(receiver, 1) == ["Token second: its limit is used to 80%"]
                listed = (await front.client.get("/permissions/notices")).json()["notices"]
        with pytest.raises(queue.Empty):
            receiver.next(0)
    assert [each["level"] for each in listed] == ["near", "recovered", "near", "failing"]


@pytest.mark.long
async def test_the_report_of_a_limit_waits_for_a_permission_service_and_is_one_message(
    redis_url: str, tmp_path: Path, bus_factory: BusFactory
) -> None:
    bus = await bus_factory("limits")
    for _ in range(3):
        await bus.publish(
            LIMIT_REPORTS, LimitReport("ci", "$5 a day", 0.9, time.time() // 60 * 60 + 600)
        )
    with Receiver() as receiver:
        async with desk(redis_url, tmp_path, receiver):
            await report_limit(bus, "last")
            shown = await titles(receiver, 2)
        with pytest.raises(queue.Empty):
            receiver.next(0)
    assert sorted(shown) == [
        "Token ci: its limit is used to 90%",
        "Token last: its limit is used to 80%",
    ]


async def test_a_token_that_spends_is_reported_near_its_limit_and_at_it(
    redis_url: str, tmp_path: Path, bus_factory: BusFactory
) -> None:
    caller = LimitedToken()
    bus = await bus_factory()
    with Receiver() as receiver:
        async with (
            desk(redis_url, tmp_path, receiver),
            TokenLedger(bus, lambda _: 0.0, lambda _: None) as ledger,
        ):
            for number in range(10):
                record = AccessRecord(f"req_{number}", time.time(), "POST", "/", provider="claude")
                await ledger.admit(caller, record)
                ledger.count(caller, record)
                if number == 8:
                    (near,) = await titles(receiver, 1)
            (reached,) = await titles(receiver, 1)
    assert near.startswith("Token chatbot: its limit is used to ")
    assert reached == "Token chatbot: its limit is reached"
