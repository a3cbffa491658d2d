"""Notifications with real receivers: buttons that answer once, secrets in no record and no log, and
a service that is killed while it sends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from permission_service.notify.links import NOTIFIED_PREFIX, Notified
from permission_service.notify.notifier import NotifyPolicy
from permission_service.notify.ways import ways_of
from shared.bus import Bus, Timings
from shared.bus.channels import decode_payload
from shared.settings.notify import NotifySettings
from tests.contract.test_permission_process import ask, kill, start, until_pending
from tests.support.permission_stack import Front, running_desk, running_front
from tests.support.receivers import SECRET, Received, Receiver

pytestmark = pytest.mark.long

__all__ = ["start"]  # a fixture

TOKEN = "a-token-of-the-owner"
QUICKLY = NotifyPolicy(pauses=(0.01, 0.01))
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


def ntfy(receiver: Receiver, **more: Any) -> NotifySettings:
    given = {"ntfy_topic": "a-secret-topic", "ntfy_url": receiver.url}
    return NotifySettings.model_validate(given | {"public_url": "http://127.0.0.1"} | more)


async def arrived(receiver: Receiver) -> Received:
    return await asyncio.to_thread(receiver.next)


async def until_unmarked(bus: Bus, request_id: str) -> None:
    """Wait until Redis knows that the refused message of the request did not leave: a service that
    is killed before then sends none again, rather than two.
    """
    async with asyncio.timeout(30):
        while True:
            (data,) = (await bus.scan(NOTIFIED_PREFIX + request_id)).values()
            if not decode_payload(Notified, data).ways:
                return


async def press(front: Front, button: str, method: str = "POST") -> httpx.Response:
    """Open the address of a button as a phone does: without a token."""
    url = front.client.base_url.join(httpx.URL(button).path)
    async with httpx.AsyncClient(trust_env=False) as phone:
        return await phone.request(method, url)


async def test_the_buttons_of_a_message_answer_once_without_a_token_and_leave_no_trace(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with Receiver() as receiver:
        ways = ways_of(ntfy(receiver), time.time)
        security = {"auth_token": TOKEN}
        async with (
            running_desk(redis_url, tmp_path / "rules.toml", notify_by=ways, notify=QUICKLY),
            running_front(redis_url, security=security) as front,
        ):
            front.client.headers["x-api-key"] = TOKEN
            checking = asyncio.create_task(front.check(input={"command": "cat private.txt"}))
            message = await arrived(receiver)
            assert b"private.txt" not in message.body
            allow, deny = message.button("Allow"), message.button("Deny")
            # A preview of the link shows nothing and changes nothing.
            for method in ("GET", "HEAD", "PUT"):
                assert (await press(front, allow, method)).status_code == 405
            assert len((await front.client.get("/permissions")).json()["pending"]) == 1
            assert (await press(front, allow)).status_code == 200
            decision = await checking
            used = [await press(front, button) for button in (allow, deny)]
            recent = (await front.client.get("/permissions")).json()["recent"]
    assert "private.txt" in str(decision)
    assert [answer.status_code for answer in used] == [410, 410]
    assert used[0].json()["error"]["type"] == "gone"
    assert recent[0]["decided_by"] == "through ntfy"
    # The phone of this test logs its own addresses.
    logged = "\n".join(
        f"{record.getMessage()} {record.__dict__.get('facts')}"
        for record in caplog.records
        if not record.name.startswith(("httpx", "httpcore"))
    )
    assert "permission_settled" in logged
    with redis.Redis.from_url(redis_url) as store:
        kept = [store.dump(key) or b"" for key in store.keys("*")]
    for secret in (allow.rpartition("/")[2], deny.rpartition("/")[2], "a-secret-topic"):
        assert secret not in logged
        assert not any(secret.encode() in value for value in kept)


async def test_a_receiver_that_fails_gets_the_same_event_again_and_holds_up_no_answer(
    redis_url: str, tmp_path: Path
) -> None:
    with Receiver(503, 503) as receiver:
        given = {"webhook_url": receiver.url, "webhook_secret": SECRET}
        ways = ways_of(NotifySettings.model_validate(given), time.time)
        async with (
            running_desk(redis_url, tmp_path / "rules.toml", notify_by=ways, notify=QUICKLY),
            running_front(redis_url) as front,
        ):
            checking = asyncio.create_task(front.check())
            events = [await arrived(receiver) for _ in range(3)]
            (pending,) = await front.pending(1)
            await front.respond(pending["request_id"])
            await checking
    assert {event.headers["webhook-id"] for event in events} == {
        f"permission-{pending['request_id']}"
    }
    assert all(event.is_signed() for event in events)


async def test_a_service_killed_before_a_message_arrived_sends_it_after_its_restart_and_once(
    redis_url: str,
    bus_factory: Callable[..., Awaitable[Bus]],
    start: Start,
) -> None:
    bus = await bus_factory("gateway", timings=Timings(no_worker=20))
    with Receiver(503) as receiver:
        environment = {
            "NOTIFY__NTFY_TOPIC": "a-secret-topic",
            "NOTIFY__NTFY_URL": receiver.url,
            "NOTIFY__PUBLIC_URL": "http://127.0.0.1:8000",
        }
        first = await start(redis_url, **environment)
        asking = asyncio.create_task(ask(bus, "a"))
        await until_pending(bus, "a")
        refused = await arrived(receiver)
        await until_unmarked(bus, "a")
        await kill(first)
        await bus.report_exit("permission_service", "desk-1")
        second = await start(redis_url, **environment)
        message = await arrived(receiver)
        await kill(second)
        await bus.report_exit("permission_service", "desk-1")
        await start(redis_url, **environment)
        await until_pending(bus, "a")
        # A second request arrives, and no second message of the first one before it.
        other = asyncio.create_task(ask(bus, "b"))
        later = await arrived(receiver)
        asking.cancel()
        other.cancel()
    ids = [each.document["sequence_id"] for each in (refused, message, later)]
    assert ids == ["permission-a", "permission-a", "permission-b"]
