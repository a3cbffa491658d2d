"""Requests and news reach every way once, links answer once, and no receiver holds up a decision."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from permission_service.alerts.alert import Condition, Decision, Words, ended, raised
from permission_service.notify.attempts import MAX_ON_THE_WAY
from permission_service.notify.links import NOTIFIED_PREFIX, LinkTokens
from permission_service.notify.messages import Notification
from permission_service.notify.notifier import NotifyPolicy
from permission_service.notify.posting import SendFailed
from shared.permissions.answer_links import link_digest
from shared.runtime.errors import BusUnavailable, Gone
from tests.unit.permission_service.conftest import Clock, MemoryBus, Room

NO_PAUSE = NotifyPolicy(pauses=(0.0, 0.0))


class MemoryWay:
    """A way that keeps what it is given, and fails as often as `failures` says."""

    def __init__(self, name: str = "ntfy", *failures: SendFailed, marked_first: bool = True):
        self.name = name
        self.has_buttons = name == "ntfy"
        self.marked_first = marked_first
        self.shows_ends = name == "web_push"
        self.has_receivers = True
        self.failures = list(failures)
        self.sent: list[tuple[Notification, LinkTokens | None]] = []
        self.attempts = 0
        self.open = asyncio.Event()
        self.open.set()
        self.changed = asyncio.Condition()

    async def send(self, message: Notification, links: LinkTokens | None) -> str:
        async with self.changed:
            self.attempts += 1
            self.changed.notify_all()
        await self.open.wait()
        if self.failures:
            raise self.failures.pop(0)
        async with self.changed:
            self.sent.append((message, links))
            self.changed.notify_all()
        return "HTTP 200"

    async def until(self, count: int) -> list[Notification]:
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: len(self.sent) >= count)
        return [message for message, _ in self.sent]

    async def links(self) -> LinkTokens:
        await self.until(1)
        links = self.sent[-1][1]
        assert links is not None
        return links


async def press(room: Room, token: str) -> Any:
    return await room.question("answer_link", "", digest=link_digest(token))


async def settled() -> None:
    """Let every task that is ready run."""
    for _ in range(50):
        await asyncio.sleep(0)


def started(room: Room) -> Room:
    room.start(room.server.notify_owner())
    return room


async def test_the_allow_link_of_a_message_allows_its_request_once_in_the_name_of_ntfy(
    make_room: Callable[..., Room], bus: MemoryBus
) -> None:
    way = MemoryWay()
    room = started(make_room(notify_by=[way]))
    asked = room.ask("a")
    links = await way.links()
    assert await press(room, links.allow) == {"permission_id": "a", "allowed": True}
    (decision,) = await asked.until(1)
    assert (decision["outcome"], decision["decided_by"]) == ("allowed", "through ntfy")
    for token in links:
        with pytest.raises(Gone, match="through ntfy allowed this already"):
            await press(room, token)
    assert [record.decided_by for record in bus.published] == ["through ntfy"]


async def test_the_deny_link_denies_and_answers_its_own_request_alone(
    make_room: Callable[..., Room],
) -> None:
    way = MemoryWay()
    room = started(make_room(notify_by=[way]))
    room.ask("a")
    await room.pending("a")
    asked = room.ask("b")
    await way.until(2)
    (links,) = [links for message, links in way.sent if message.request_id == "b"]
    assert links is not None
    assert (await press(room, links.deny))["allowed"] is False
    (decision,) = await asked.until(1)
    assert decision["outcome"] == "denied"
    await room.pending("a")


async def test_a_link_ends_with_an_answer_elsewhere_a_withdrawal_and_the_end_of_the_time(
    make_room: Callable[..., Room],
) -> None:
    way, clock = MemoryWay(), Clock()
    room = started(make_room(clock, notify_by=[way]))
    room.ask("answered")
    room.ask("withdrawn", asker="process")
    room.ask("expired", timeout_seconds=60)
    await way.until(3)
    links = {message.request_id: found for message, found in way.sent}
    await room.decide("answered", allowed=False)
    await room.question("withdraw", asker="process")
    clock.now += 61
    for request_id, found in links.items():
        assert found is not None
        with pytest.raises(Gone):
            await press(room, found.allow)
        assert room.desk.find(request_id).status != "allowed"


@pytest.mark.parametrize("digest", ["", "0" * 64])
async def test_an_unknown_link_is_gone(room: Room, digest: str) -> None:
    with pytest.raises(Gone):
        await room.question("answer_link", "", digest=digest)


async def test_redis_holds_digests_and_no_secret(
    make_room: Callable[..., Room], bus: MemoryBus
) -> None:
    way = MemoryWay()
    room = started(make_room(notify_by=[way]))
    room.ask("a")
    links = await way.links()
    kept = bus.keys[f"{NOTIFIED_PREFIX}a"]
    assert link_digest(links.allow).encode() in kept
    everything = b"".join(bus.keys.values())
    assert not any(token.encode() in everything for token in links)


async def test_what_a_rule_decides_and_what_stands_aside_is_not_sent(
    make_room: Callable[..., Room],
) -> None:
    way = MemoryWay()
    room = started(make_room(notify_by=[way]))
    await room.question("add_rule", effect="allow", tool="Bash", command="touch x")
    await room.ask("ruled").until(1)
    await room.ask("at the desk", command="rm x", asks_itself=True).until(1)
    room.ask("waits", command="rm x")
    assert [message.request_id for message in await way.until(1)] == ["waits"]
    await settled()
    assert len(way.sent) == 1


async def test_a_decision_does_not_wait_for_a_receiver_that_hangs(
    make_room: Callable[..., Room],
) -> None:
    way = MemoryWay()
    way.open.clear()
    room = started(make_room(notify_by=[way]))
    asked = room.ask("a")
    await room.pending("a")
    await room.decide("a")
    (decision,) = await asked.until(1)
    assert decision["outcome"] == "allowed"


async def test_a_request_stored_before_a_restart_is_sent_after_it_and_only_once(
    make_room: Callable[..., Room],
) -> None:
    # The first process is ended between the storing and the sending: it sends nothing.
    room = make_room()
    room.ask("a")
    await room.pending("a")
    way = MemoryWay()
    for _ in range(2):
        room = make_room(notify_by=[way])
        await room.server.load()
        started(room)
        room.ask("a")
        await way.until(1)
        await settled()
    assert len(way.sent) == 1
    # The link of the process before answers in this one.
    assert (await press(room, way.sent[0][1].allow))["allowed"] is True  # type: ignore[union-attr]


async def test_an_end_during_the_sending_leaves_a_mark_and_no_second_message_for_people(
    make_room: Callable[..., Room],
) -> None:
    hanging = MemoryWay()
    hanging.open.clear()
    room = make_room(notify_by=[hanging])
    sending = room.start(room.server.notify_owner())
    room.ask("a")
    async with asyncio.timeout(5), hanging.changed:
        await hanging.changed.wait_for(lambda: hanging.attempts == 1)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    again, webhook = MemoryWay(), MemoryWay("webhook", marked_first=False)
    room = make_room(notify_by=[again, webhook])
    await room.server.load()
    started(room)
    assert [message.id for message in await webhook.until(1)] == ["permission-a"]
    await settled()
    assert again.sent == []


async def test_a_failing_receiver_is_tried_again_and_given_up_with_a_line_and_a_count(
    make_room: Callable[..., Room],
) -> None:
    failures = [SendFailed("HTTP 503") for _ in range(4)]
    way, webhook = MemoryWay("ntfy", *failures), MemoryWay("webhook", marked_first=False)
    room = started(make_room(notify_by=[way, webhook], notify=NO_PAUSE))
    asked = room.ask("a")
    await webhook.until(1)
    await settled()
    # Three attempts, and no fourth by a later look at the requests.
    assert (way.attempts, way.sent) == (3, [])
    counts = room.metrics.snapshot()
    assert b'ccproxy_notifications_total{outcome="given_up",way="ntfy"} 1.0' in counts
    assert b'ccproxy_notifications_total{outcome="retried",way="ntfy"} 2.0' in counts
    assert b'ccproxy_notifications_total{outcome="sent",way="webhook"} 1.0' in counts
    await room.decide("a")
    (decision,) = await asked.until(1)
    assert decision["outcome"] == "allowed"


async def test_a_request_that_ended_is_not_tried_again(make_room: Callable[..., Room]) -> None:
    way = MemoryWay("ntfy", SendFailed("no answer"))
    way.open.clear()
    room = started(make_room(notify_by=[way], notify=NO_PAUSE))
    asked = room.ask("a")
    async with asyncio.timeout(5), way.changed:
        await way.changed.wait_for(lambda: way.attempts == 1)
    await room.decide("a")
    await asked.until(1)
    way.open.set()
    await settled()
    assert (way.attempts, way.sent) == (1, [])


async def test_nothing_leaves_while_redis_cannot_keep_the_link(
    make_room: Callable[..., Room], bus: MemoryBus
) -> None:
    way = MemoryWay()
    room = make_room(notify_by=[way], notify=NotifyPolicy(pauses=(0.0,)))
    room.ask("a")
    await room.pending("a")
    bus.down = True
    started(room)
    await settled()
    assert way.attempts == 0
    assert b'{outcome="given_up",way="ntfy"} 1.0' in room.metrics.snapshot()
    with pytest.raises(BusUnavailable):
        await room.decide("a")


async def test_quiet_hours_delay_what_still_waits(make_room: Callable[..., Room]) -> None:
    way, clock = MemoryWay(), Clock()

    def local(seconds: float) -> datetime:
        return datetime(2026, 1, 1, 6, 59, tzinfo=UTC) + timedelta(seconds=seconds - quiet_since)

    quiet_since = clock.now
    policy = NotifyPolicy(quiet_hours="22:00-07:00", local=local)
    room = started(make_room(clock, notify_by=[way], notify=policy))
    room.ask("a")
    room.ask("b")
    await room.pending("a", "b")
    await settled()
    assert way.sent == []
    await room.decide("a")
    clock.now += 60
    room.ask("c")
    assert {message.request_id for message in await way.until(2)} == {"b", "c"}


async def test_news_of_agents_is_sent_while_the_owner_is_away(
    make_room: Callable[..., Room],
) -> None:
    way = MemoryWay()
    room = started(make_room(notify_by=[way]))
    await settled()
    news = {"kind": "done", "program": "Codex", "machine": "tower", "folder": "/x", "text": ""}
    await room.question("notice", **news)
    await settled()
    await room.question("set_away", state="on")
    await room.question("notice", **news | {"kind": "waits"})
    (message,) = await way.until(1)
    assert (message.type, message.title) == ("agent.waits", "Codex waits for you")
    assert message.text == "Machine: tower"


def gone(room: Room, ends_in: float = 3600.0) -> Decision:
    ends_at = room.clock() + ends_in
    words = Words("Claude: the 5h window is used up", "It resets soon.")
    return raised(Condition("quota", "claude 5h", "gone", ends_at, ends_at), words, room.clock())


def over(room: Room, begun: Decision) -> Decision:
    assert begun.condition is not None
    return ended(begun.condition, "back", Words("It has begun anew", ""), room.clock())


async def test_an_alert_is_sent_by_every_way_once_also_after_a_restart(
    make_room: Callable[..., Room],
) -> None:
    ways = [MemoryWay(), MemoryWay("webhook", marked_first=False)]
    room = started(make_room(notify_by=ways))
    decision = gone(room)
    await room.alerts.settle(lambda _: [decision])
    for way in ways:
        (message,) = await way.until(1)
        assert (message.type, message.title) == ("alert", "Claude: the 5h window is used up")
        assert message.facts == {"kind": "quota", "subject": "claude 5h", "level": "gone"}
    await settled()
    again = make_room(room.clock, notify_by=ways)
    await again.server.load()
    started(again)
    await again.alerts.settle(lambda _: [over(again, decision)])
    assert [message.quiet for message in await ways[0].until(2)] == [False, True]


async def test_an_alert_that_no_way_could_send_is_sent_after_a_restart(
    make_room: Callable[..., Room],
) -> None:
    refusing, way = MemoryWay("ntfy", SendFailed("HTTP 403", final=True)), MemoryWay()
    room = started(make_room(notify_by=[refusing], notify=NO_PAUSE))
    await room.alerts.settle(lambda _: [gone(room)])
    while not room.alerts.show() or refusing.attempts < 1:
        await settled()
    await settled()
    again = make_room(room.clock, notify_by=[way])
    await again.server.load()
    started(again)
    assert [message.type for message in await way.until(1)] == ["alert"]


async def test_an_alert_of_a_kind_that_is_not_wanted_is_shown_and_not_sent(
    make_room: Callable[..., Room],
) -> None:
    way = MemoryWay()
    room = started(make_room(notify_by=[way], notify=NotifyPolicy(alerts=("login",))))
    await room.alerts.settle(lambda _: [gone(room)])
    await settled()
    assert (len(room.alerts.show()), way.attempts) == (1, 0)


async def test_quiet_hours_delay_an_alert_and_what_ended_in_them_is_not_sent(
    make_room: Callable[..., Room],
) -> None:
    way, clock = MemoryWay(), Clock()
    quiet_since = clock.now

    def local(seconds: float) -> datetime:
        return datetime(2026, 1, 1, 6, 58, tzinfo=UTC) + timedelta(seconds=seconds - quiet_since)

    policy = NotifyPolicy(quiet_hours="22:00-07:00", local=local)
    room = started(make_room(clock, notify_by=[way], notify=policy))
    first = gone(room, ends_in=60)
    await room.alerts.settle(lambda _: [first])
    await settled()
    clock.now += 60
    await room.alerts.settle(lambda _: [over(room, first)])
    second = gone(room)
    await room.alerts.settle(lambda _: [second])
    await settled()
    assert way.attempts == 0
    clock.now += 60
    room.ask("wakes-the-notifier")
    messages = await way.until(2)
    assert {message.type for message in messages} == {"alert", "permission.waiting"}
    assert len(room.alerts.show()) == 3


async def test_more_messages_than_have_room_wait_if_they_are_requests_and_are_dropped_else(
    make_room: Callable[..., Room],
) -> None:
    way = MemoryWay()
    way.open.clear()
    room = started(make_room(notify_by=[way]))
    await settled()
    await room.question("set_away", state="on")
    for number in range(MAX_ON_THE_WAY):
        room.ask(f"r{number}", caller=f"c{number}")
    while len(room.desk.pending()) < MAX_ON_THE_WAY:
        await settled()
    await settled()
    room.ask("one-more", caller="late")
    await room.question("notice", kind="done", program="Codex")
    await settled()
    assert b'{outcome="dropped",way="ntfy"} 1.0' in room.metrics.snapshot()
    way.open.set()
    await way.until(MAX_ON_THE_WAY)
    await room.decide("r0")
    messages = await way.until(MAX_ON_THE_WAY + 1)
    assert messages[-1].request_id == "one-more"


async def test_the_test_message_tells_what_came_back(make_room: Callable[..., Room]) -> None:
    refused = SendFailed("HTTP 403", answer="forbidden", final=True)
    room = make_room(notify_by=[MemoryWay(), MemoryWay("webhook", refused)])
    assert await room.question("try_notifications") == {
        "ways": [
            {"way": "ntfy", "sent": True, "answer": "HTTP 200"},
            {"way": "webhook", "sent": False, "answer": "HTTP 403: forbidden"},
        ]
    }


async def test_the_end_of_a_request_is_sent_once_to_receivers_that_show_it(
    make_room: Callable[..., Room],
) -> None:
    ntfy, browsers = MemoryWay(), MemoryWay("web_push", marked_first=False)
    room = started(make_room(notify_by=[ntfy, browsers]))
    room.ask("answered")
    room.ask("withdrawn", asker="process")
    await browsers.until(2)
    await ntfy.until(2)
    await room.decide("answered", by="laptop")
    await room.question("withdraw", asker="process")
    ended = (await browsers.until(4))[2:]
    assert {(message.request_id, message.title, message.text) for message in ended} == {
        ("answered", "Allowed by laptop", "An agent asked for permission: Bash"),
        ("withdrawn", "Withdrawn", "An agent asked for permission: Bash"),
    }
    assert {message.type for message in ended} == {"permission.ended"}
    await settled()
    # The next process knows that both ends were sent.
    room = make_room(notify_by=[browsers])
    await room.server.load()
    started(room)
    room.ask("later")
    await browsers.until(5)
    await settled()
    assert [message.request_id for message, _ in browsers.sent[4:]] == ["later"]
    assert len(ntfy.sent) == 2


async def test_a_request_that_ended_before_it_was_sent_has_no_end_to_send(
    make_room: Callable[..., Room],
) -> None:
    browsers = MemoryWay("web_push", SendFailed("HTTP 403", final=True), marked_first=False)
    room = started(make_room(notify_by=[browsers]))
    room.ask("a")
    async with asyncio.timeout(5), browsers.changed:
        await browsers.changed.wait_for(lambda: browsers.attempts == 1)
    await settled()
    await room.decide("a")
    await settled()
    assert (browsers.attempts, browsers.sent) == (1, [])


async def test_a_way_without_receivers_gets_nothing_and_what_waits_once_it_has_one(
    make_room: Callable[..., Room],
) -> None:
    way = MemoryWay("web_push", marked_first=False)
    way.has_receivers = False
    room = started(make_room(notify_by=[way]))
    room.ask("a")
    await room.pending("a")
    await settled()
    assert way.attempts == 0
    assert await room.question("try_notifications") == {"ways": []}
    way.has_receivers = True
    room.ask("b")
    assert {message.request_id for message in await way.until(2)} == {"a", "b"}


async def test_the_end_of_a_request_that_was_answered_during_the_sending_is_sent_too(
    make_room: Callable[..., Room],
) -> None:
    browsers = MemoryWay("web_push", marked_first=False)
    browsers.open.clear()
    room = started(make_room(notify_by=[browsers]))
    room.ask("a")
    async with asyncio.timeout(5), browsers.changed:
        await browsers.changed.wait_for(lambda: browsers.attempts == 1)
    await room.decide("a", by="laptop")
    await settled()
    browsers.open.set()
    messages = await browsers.until(2)
    assert [message.type for message in messages] == ["permission.waiting", "permission.ended"]
