"""The way to browsers: what a push service gets, who gets it again, and who is forgotten."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from permission_service.notify.browsers import Browsers, Subscriber
from permission_service.notify.messages import EventType, Notification
from permission_service.notify.posting import SendFailed
from permission_service.notify.web_push import (
    MAX_DOCUMENT_BYTES,
    WebPush,
    push_document,
    topic_of,
)
from shared.runtime.errors import ClientError, Conflict
from shared.settings.notify import NotifySettings
from tests.support.push_service import SubscribedBrowser, claims_of
from tests.support.receivers import Receiver
from tests.unit.permission_service.conftest import Clock, MemoryBus
from tests.unit.permission_service.notify.test_browsers import Known

PAGE = "https://home.example"
WAITING = Notification(
    "permission-r", "permission.waiting", "T", "t", 1_700_000_000.0, "r", True, True
)


class Sending:
    """A way to browsers whose push service is `service`."""

    def __init__(self, tmp_path: Path, service: Receiver, **settings: Any) -> None:
        self.clock, self.tokens, self.bus, self.service = Clock(), Known(), MemoryBus(), service
        self.key_file = tmp_path / "state/web-push.key"
        self.settings = NotifySettings.model_validate(settings)
        self.way = self.restarted()

    def restarted(self) -> WebPush:
        browsers = Browsers(self.bus, self.tokens, self.clock, ["127.0.0.1"])  # type: ignore[arg-type]
        return WebPush(browsers, self.settings, self.key_file, self.clock)

    async def subscribe(self, name: str, page: str = PAGE) -> SubscribedBrowser:
        browser = SubscribedBrowser(f"{self.service.url}/{name}")
        self.clock.now += 1
        given = Subscriber(name, f"digest-of-{name}", page, "Firefox/1 Linux")
        shown = await self.way.subscribe(browser.subscription, given)
        assert shown["id"] == browser.id
        return browser


@pytest.fixture
def service() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def sending(tmp_path: Path, service: Receiver) -> Sending:
    return Sending(tmp_path, service)


async def test_a_browser_gets_a_sealed_message_with_its_lifetime_topic_and_signature(
    sending: Sending, service: Receiver
) -> None:
    browser = await sending.subscribe("phone")
    expiring = Notification(
        "permission-r",
        "permission.waiting",
        "T",
        "t",
        1.0,
        "r",
        True,
        True,
        expires_at=sending.clock.now + 60,
    )
    assert await sending.way.send(expiring, None) == "phone (Firefox on Linux): HTTP 200"
    received = await asyncio.to_thread(service.next)
    assert browser.open(received) == {
        "type": "permission.waiting",
        "title": "T",
        "text": "t",
        "tag": "permission-r",
        "request_id": "r",
        "actions": ["deny", "allow"],
        "at": 1000,
        "quiet": False,
    }
    claims = claims_of(received, sending.way.public_key(), sending.clock.now)
    assert (claims["aud"], claims["sub"]) == (service.url, PAGE)
    named = {name: received.headers[name] for name in ("ttl", "urgency", "topic", "content-type")}
    assert named == {
        "ttl": "60",
        "urgency": "high",
        "topic": topic_of("permission-r"),
        "content-type": "application/octet-stream",
    }
    assert len(named["topic"]) == 32
    assert "r" not in named["topic"].split("-")


@pytest.mark.parametrize(
    ("settings", "page", "contact"),
    [
        ({"push_contact": "mailto:me@example.org"}, PAGE, "mailto:me@example.org"),
        ({"public_url": "https://gate.example"}, PAGE, "https://gate.example"),
        ({"public_url": "http://10.0.0.1"}, PAGE, PAGE),
        ({}, "http://127.0.0.1:8000", "mailto:ccproxy@localhost"),
    ],
)
async def test_the_contact_is_the_owners_the_public_address_or_the_page(
    tmp_path: Path, service: Receiver, settings: dict[str, str], page: str, contact: str
) -> None:
    sending = Sending(tmp_path, service, **settings)
    await sending.subscribe("phone", page)
    await sending.way.send(WAITING, None)
    received = await asyncio.to_thread(service.next)
    claims = claims_of(received, sending.way.public_key(), sending.clock.now)
    assert claims["sub"] == contact


async def test_the_key_is_made_once_for_its_owner_alone_and_kept(sending: Sending) -> None:
    assert not sending.key_file.exists()
    public = sending.way.public_key()
    assert stat.S_IMODE(sending.key_file.stat().st_mode) == 0o600
    assert sending.restarted().public_key() == public


async def test_a_key_file_that_cannot_be_used_is_named_and_not_replaced(sending: Sending) -> None:
    browser = await sending.subscribe("phone")
    sending.key_file.write_text("broken")
    way = sending.restarted()
    await way.browsers.load()
    with pytest.raises(Conflict, match=r"web-push\.key"):
        way.public_key()
    with pytest.raises(Conflict, match=r"web-push\.key"):
        await way.subscribe(browser.subscription, Subscriber("x", "x", PAGE, ""))
    with pytest.raises(SendFailed, match="cannot be sealed") as failed:
        await way.send(WAITING, None)
    assert failed.value.final
    assert sending.key_file.read_text() == "broken"


async def test_a_browser_of_an_earlier_key_is_forgotten_and_its_push_service_not_asked(
    sending: Sending, service: Receiver
) -> None:
    await sending.subscribe("phone")
    sending.key_file.unlink()
    way = sending.restarted()
    await way.browsers.load()
    assert "an earlier key" in await way.send(WAITING, None)
    assert not way.has_receivers
    assert service.arrived.empty()


@pytest.mark.parametrize("status", [404, 410])
async def test_a_browser_that_its_push_service_no_longer_knows_is_forgotten(
    sending: Sending, service: Receiver, status: int
) -> None:
    await sending.subscribe("phone")
    service.answers.append(status)
    assert await sending.way.send(WAITING, None) == "phone (Firefox on Linux): gone, and forgotten"
    assert not sending.way.has_receivers
    assert sending.bus.keys == {}


async def test_only_a_browser_whose_message_failed_gets_it_again(
    sending: Sending, service: Receiver
) -> None:
    await sending.subscribe("one")
    await sending.subscribe("two")
    service.answers += [503, 201]
    with pytest.raises(SendFailed, match="HTTP 503") as failed:
        await sending.way.send(WAITING, None)
    assert not failed.value.final
    await sending.way.send(WAITING, None)
    paths = [(await asyncio.to_thread(service.next)).path for _ in range(3)]
    assert service.arrived.empty()
    # Who failed in the first attempt is the only one of the second.
    assert sorted(paths[:2]) == ["/one", "/two"]
    assert paths.count(paths[2]) == 2


async def test_a_refusal_is_final_and_not_tried_again_with_the_others(
    sending: Sending, service: Receiver
) -> None:
    await sending.subscribe("phone")
    service.answers.append(403)
    with pytest.raises(SendFailed, match="HTTP 403") as failed:
        await sending.way.send(WAITING, None)
    assert failed.value.final
    assert await sending.way.send(WAITING, None) == "every browser has it"
    # The subscription itself stays: only 404 and 410 say that it has ended.
    assert sending.way.has_receivers


async def test_a_revoked_token_ends_its_messages(sending: Sending, service: Receiver) -> None:
    await sending.subscribe("phone")
    sending.tokens.ended.add("digest-of-phone")
    assert not sending.way.has_receivers
    await sending.way.send(WAITING, None)
    assert service.arrived.empty()
    assert sending.bus.keys == {}


async def test_a_browser_that_knows_is_left_out(sending: Sending, service: Receiver) -> None:
    one, two = await sending.subscribe("one"), await sending.subscribe("two")
    sending.way.skip("permission-r", one.id)
    await sending.way.send(WAITING, None)
    two.open(await asyncio.to_thread(service.next))
    assert service.arrived.empty()


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {},
        {"endpoint": "https://fcm.googleapis.com/x"},
        {"endpoint": "https://fcm.googleapis.com/x", "keys": []},
        {"endpoint": "https://fcm.googleapis.com/x", "keys": {"p256dh": "x", "auth": "y"}},
    ],
)
async def test_a_body_that_is_no_subscription_is_refused(sending: Sending, wrong: Any) -> None:
    with pytest.raises(ClientError):
        await sending.way.subscribe(wrong, Subscriber("x", "x", PAGE, ""))


def message(
    *,
    kind: EventType = "permission.waiting",
    title: str = "T",
    text: str = "t",
    may_allow: bool = True,
    quiet: bool = False,
) -> dict[str, Any]:
    given = Notification("permission-r", kind, title, text, 0.0, "r", may_allow, quiet=quiet)
    return push_document(given)


def test_allow_is_offered_only_for_what_a_notification_shows_whole() -> None:
    assert message(text="x" * 240)["actions"] == ["deny", "allow"]
    assert message(text="x" * 241)["actions"] == ["deny"]
    assert message(text="a\nb\nc\nd\ne\nf")["actions"] == ["deny", "allow"]
    assert message(text="a\nb\nc\nd\ne\nf\ng")["actions"] == ["deny"]
    assert message(may_allow=False)["actions"] == ["deny"]
    assert message(kind="permission.ended")["actions"] == []


def test_a_long_text_is_cut_into_one_record_and_says_so() -> None:
    for character in ("x", "ü", '"', "\u2028", "😀", "\\"):
        document = message(text=character * 3000, title="t" * 500)
        size = len(json.dumps(document, ensure_ascii=False).encode())
        assert size <= MAX_DOCUMENT_BYTES + 200
        assert document["text"].endswith("Open the page to see all of it.") or size < 3900
        assert len(document["title"]) == 120
        assert document["actions"] == ["deny"]


def test_the_outcome_takes_the_place_of_the_request_without_a_sound() -> None:
    waiting, ended = message(), message(kind="permission.ended", quiet=True)
    assert waiting["tag"] == ended["tag"]
    assert (waiting["quiet"], ended["quiet"]) == (False, True)
