"""Reports of managed sessions: known by their ids, stored before they are announced, sent to
programs all of them and to people the latest of a session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from permission_service.notify.notifier import NotifyPolicy
from permission_service.notify.posting import SendFailed
from permission_service.report_book import KEPT, KEPT_SECONDS, REPORT_PREFIX
from shared.bus.channels import encode_payload
from shared.bus.session_reports import SessionReport
from shared.runtime.errors import BusUnavailable
from tests.unit.permission_service.conftest import Asked, MemoryBus, Room
from tests.unit.permission_service.notify.test_notifier import MemoryWay, settled, started


def report(room: Room, number: int = 1, session: str = "sesn_1", **facts: Any) -> SessionReport:
    given = {"caller": "laptop", "outcome": "done", "at": room.clock(), "agent": "helper"}
    return SessionReport(f"sevt_{number}", session, **given | facts)  # type: ignore[arg-type]


def both() -> tuple[MemoryWay, MemoryWay]:
    return MemoryWay(), MemoryWay("webhook", marked_first=False)


async def test_a_report_reaches_every_way_once_also_when_its_delivery_comes_again(
    make_room: Callable[..., Room],
) -> None:
    ntfy, webhook = both()
    room = started(make_room(notify_by=[ntfy, webhook]))
    delivery = Asked(encode_payload(report(room)))
    for _ in range(2):
        await room.server.take_session_report(delivery)  # type: ignore[arg-type]
    for way in (ntfy, webhook):
        (message,) = await way.until(1)
        assert (message.id, message.type) == ("sevt_1", "session.status_idled")
        assert (message.title, message.text) == ("helper is done", "Session: sesn_1")
    await settled()
    again = make_room(room.clock, notify_by=[ntfy, webhook])
    await again.server.load()
    started(again)
    await again.server.take_session_report(delivery)  # type: ignore[arg-type]
    await settled()
    assert (ntfy.attempts, webhook.attempts) == (1, 1)


async def test_a_report_that_was_stored_and_not_sent_is_sent_after_a_restart(
    make_room: Callable[..., Room],
) -> None:
    room = make_room()
    await room.server.reports.add(report(room))
    ntfy, webhook = both()
    again = make_room(room.clock, notify_by=[ntfy, webhook])
    await again.server.load()
    started(again)
    await ntfy.until(1)
    await webhook.until(1)


async def test_a_report_for_programs_alone_reaches_no_person_and_no_list_of_notices(
    make_room: Callable[..., Room],
) -> None:
    ntfy, webhook = both()
    room = started(make_room(notify_by=[ntfy, webhook]))
    await room.server.reports.add(report(room, is_for_person=False))
    await webhook.until(1)
    await settled()
    assert ntfy.attempts == 0
    assert (await room.question("notices"))["notices"] == []


async def test_quiet_hours_delay_reports_and_people_get_the_latest_of_a_session_afterwards(
    make_room: Callable[..., Room],
) -> None:
    ntfy, webhook = both()
    is_quiet = True

    def local(_: float) -> datetime:
        return datetime(2026, 1, 1, 6 if is_quiet else 8, tzinfo=UTC)

    policy = NotifyPolicy(quiet_hours="22:00-07:00", local=local)
    room = started(make_room(notify_by=[ntfy, webhook], notify=policy))
    for number in (1, 2):
        await room.server.reports.add(report(room, number))
    await room.server.reports.add(report(room, 3, "sesn_2", outcome="failed"))
    await settled()
    assert (ntfy.attempts, webhook.attempts) == (0, 0)
    is_quiet = False
    room.ask("wakes-the-notifier")
    told = {message.id for message in await ntfy.until(3)}
    assert told == {"sevt_2", "sevt_3", "permission-wakes-the-notifier"}
    assert {"sevt_1", "sevt_2", "sevt_3"} < {message.id for message in await webhook.until(4)}


async def test_a_notice_of_a_report_is_listed_and_is_no_second_message_while_the_owner_is_away(
    make_room: Callable[..., Room],
) -> None:
    ntfy, _ = both()
    room = started(make_room(notify_by=[ntfy]))
    await settled()
    await room.question("set_away", state="on")
    await room.server.reports.add(report(room, text="\x1b[2JDone."))
    await ntfy.until(1)
    await settled()
    assert ntfy.attempts == 1
    (notice,) = (await room.question("notices"))["notices"]
    assert (notice["kind"], notice["program"], notice["session_id"]) == ("done", "helper", "sesn_1")
    assert "\x1b" not in notice["text"]


async def test_a_report_waits_in_its_channel_while_redis_cannot_store_it(
    make_room: Callable[..., Room], bus: MemoryBus
) -> None:
    ntfy, _ = both()
    room = started(make_room(notify_by=[ntfy]))
    bus.down = True
    with pytest.raises(BusUnavailable):
        await room.server.reports.add(report(room))
    assert not room.server.reports.knows("sevt_1")
    room.server.reports._retry_seconds = 0.0
    taking = room.start(room.server.take_session_report(Asked(encode_payload(report(room)))))  # type: ignore[arg-type]
    await settled()
    assert (taking.done(), ntfy.attempts) == (False, 0)
    bus.down = False
    async with asyncio.timeout(5):
        await taking
    await ntfy.until(1)


async def test_a_refused_message_is_taken_for_unsent_by_the_next_process(
    make_room: Callable[..., Room],
) -> None:
    refusing = MemoryWay("ntfy", SendFailed("HTTP 403", final=True))
    room = started(make_room(notify_by=[refusing], notify=NotifyPolicy(pauses=(0.0,))))
    await room.server.reports.add(report(room))
    while refusing.attempts < 1:
        await settled()
    await settled()
    way = MemoryWay()
    again = make_room(room.clock, notify_by=[way])
    await again.server.load()
    started(again)
    await way.until(1)


async def test_old_reports_are_not_sent_and_the_oldest_make_room(room: Room) -> None:
    book = room.server.reports
    first = report(room, is_for_person=False)
    await book.add(first)
    room.clock.now += KEPT_SECONDS
    assert list(book.waiting("ntfy")) == []
    for number in range(2, KEPT + 3):
        await book.add(replace(first, id=f"sevt_{number}", at=room.clock()))
    assert not book.knows("sevt_1")
    assert not book.knows("sevt_2")
    assert len(list(book.waiting("webhook"))) == KEPT


async def test_what_cannot_be_read_is_refused_and_holds_up_nothing(
    room: Room, bus: MemoryBus
) -> None:
    await room.server.take_session_report(Asked(b"{}"))  # type: ignore[arg-type]
    bus.keys[f"{REPORT_PREFIX}x"] = b"[]"
    await room.server.reports.load()
    assert list(room.server.reports.waiting("webhook")) == []
