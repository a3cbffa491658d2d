"""Subscribed browsers are stored, limited, and end with their token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from permission_service.notify.approving_tokens import ApprovingTokens
from permission_service.notify.browsers import (
    BROWSER_PREFIX,
    MOST,
    MOST_PER_TOKEN,
    Browsers,
    Subscriber,
    browser_program,
)
from shared.runtime.errors import BusUnavailable, ClientError, Conflict, NotFound
from shared.settings.security import SecuritySettings
from tests.unit.permission_service.conftest import Clock, MemoryBus

PUSH = "https://fcm.googleapis.com/wp/"


class Known(ApprovingTokens):
    """Every token but those in `ended`."""

    def __init__(self) -> None:
        super().__init__(SecuritySettings(tokens_file=Path("nowhere.json")))
        self.ended: set[str] = set()

    def allows(self, digest: str, now: float) -> bool:
        return digest not in self.ended


@pytest.fixture
def tokens() -> Known:
    return Known()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def browsers(bus: MemoryBus, tokens: Known, clock: Clock) -> Browsers:
    return Browsers(bus, tokens, clock, [])  # type: ignore[arg-type]


def subscription(name: str, base: str = PUSH) -> dict[str, Any]:
    return {"endpoint": base + name, "keys": {"p256dh": "p", "auth": "a"}}


def phone(name: str = "phone") -> Subscriber:
    return Subscriber(name, f"digest-of-{name}", "https://home.example", "Firefox/1 (Android 15)")


async def add(browsers: Browsers, name: str, token: str = "phone") -> str:
    return (await browsers.add(subscription(name), "key", phone(token))).id


async def test_a_browser_is_stored_and_found_after_a_restart(
    browsers: Browsers, bus: MemoryBus, tokens: Known, clock: Clock
) -> None:
    added = await browsers.add(subscription("one"), "key", phone())
    assert f"{BROWSER_PREFIX}{added.id}" in bus.keys
    again = Browsers(bus, tokens, clock, [])  # type: ignore[arg-type]
    await again.load()
    assert again.all() == [added]
    shown = added.show()
    assert (shown["token"], shown["program"]) == ("phone", "Firefox on Android")
    assert shown["service"] == "fcm.googleapis.com"
    assert not {"endpoint", "p256dh", "auth", "digest"} & shown.keys()
    assert PUSH not in str(shown)


async def test_the_same_browser_again_is_one_and_takes_its_new_token(browsers: Browsers) -> None:
    await add(browsers, "one", "phone")
    await add(browsers, "one", "tablet")
    assert [known.token for known in browsers.all()] == ["tablet"]


@pytest.mark.parametrize("base", ["https://10.0.0.1/", "http://fcm.googleapis.com/", "nonsense"])
async def test_an_address_inside_the_network_is_refused_and_not_stored(
    browsers: Browsers, bus: MemoryBus, base: str
) -> None:
    with pytest.raises(ClientError, match="endpoint: "):
        await browsers.add(subscription("x", base), "key", phone())
    assert bus.keys == {}


async def test_a_host_that_is_no_longer_named_gets_nothing(
    bus: MemoryBus, tokens: Known, clock: Clock
) -> None:
    named = Browsers(bus, tokens, clock, ["push.example"])  # type: ignore[arg-type]
    await named.add(subscription("x", "https://push.example/"), "key", phone())
    assert len(named.all()) == 1
    unnamed = Browsers(bus, tokens, clock, [])  # type: ignore[arg-type]
    await unnamed.load()
    assert unnamed.all() == []
    await unnamed.forget_ended()
    assert bus.keys == {}


async def test_a_token_has_room_for_a_few_and_the_one_renewed_longest_ago_goes(
    browsers: Browsers, clock: Clock
) -> None:
    ids = []
    for number in range(MOST_PER_TOKEN):
        clock.now += 1
        ids.append(await add(browsers, f"b{number}"))
    clock.now += 1
    await add(browsers, "b0")
    clock.now += 1
    newest = await add(browsers, "one-more")
    assert [known.id for known in browsers.all()] == [*ids[2:], ids[0], newest]


async def test_all_tokens_together_have_a_limit_that_ends_nobody_elses_browser(
    browsers: Browsers,
) -> None:
    for number in range(MOST):
        await add(browsers, f"b{number}", f"token-{number}")
    with pytest.raises(Conflict, match="64 browsers"):
        await add(browsers, "one-more", "late")
    assert len(browsers.all()) == MOST
    await add(browsers, "b0", "token-0")


async def test_a_revoked_token_ends_its_browsers_at_once(
    browsers: Browsers, bus: MemoryBus, tokens: Known
) -> None:
    await add(browsers, "one", "phone")
    await add(browsers, "two", "tablet")
    tokens.ended.add("digest-of-phone")
    assert [known.token for known in browsers.all()] == ["tablet"]
    await browsers.forget_ended()
    assert len(bus.keys) == 1


async def test_without_redis_a_browser_is_neither_added_nor_lost(
    browsers: Browsers, bus: MemoryBus, tokens: Known
) -> None:
    kept = await add(browsers, "one")
    bus.down = True
    with pytest.raises(BusUnavailable):
        await add(browsers, "two")
    with pytest.raises(BusUnavailable):
        await browsers.remove(kept, "phone")
    tokens.ended.add("digest-of-phone")
    await browsers.forget_ended()
    assert browsers.all() == []
    bus.down = False
    await browsers.forget_ended()
    assert bus.keys == {}


async def test_a_token_sees_and_removes_its_own_browsers_and_the_owner_all(
    browsers: Browsers,
) -> None:
    one, two = await add(browsers, "one", "phone"), await add(browsers, "two", "tablet")
    assert [known.id for known in browsers.seen_by("phone")] == [one]
    assert {known.id for known in browsers.seen_by("owner")} == {one, two}
    for unknown, by in ((two, "phone"), ("nothing", "owner")):
        with pytest.raises(NotFound):
            await browsers.remove(unknown, by)
    await browsers.remove(two, "owner")
    await browsers.remove(one, "phone")
    assert browsers.all() == []


@pytest.mark.parametrize(
    ("user_agent", "shown"),
    [
        ("Mozilla/5.0 (Linux; Android 15) … Chrome/140.0 Mobile Safari/537", "Chrome on Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18) … Version/18 Safari/604", "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) … Chrome/140 Safari/537 Edg/140", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; …) Gecko Firefox/143.0", "Firefox on macOS"),
        ("curl/8", "curl/8"),
        ("", "a browser"),
        ("x\x1b[2J" * 30, "x\\x1b[2J" * 7 + "x\\x…"),
    ],
)
def test_a_browser_is_named_for_people(user_agent: str, shown: str) -> None:
    found = browser_program(user_agent)
    assert "\x1b" not in found
    assert len(found) <= 60
    if "\x1b" not in user_agent:
        assert found == shown
