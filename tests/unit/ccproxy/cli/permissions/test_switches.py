"""The keys of the owner's switches send the whole new choice, and show what came of it."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from ccproxy.cli.permissions.feed import EventFeed, FeedEvent
from ccproxy.cli.permissions.switches import OwnerSwitches


class Service:
    """A permission service behind a gateway; `refuses` makes every change fail."""

    def __init__(self) -> None:
        self.active = ["night"]
        self.away = False
        self.refuses = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            if self.refuses:
                return httpx.Response(409, json={"error": {"message": "The file is broken."}})
            body = orjson.loads(request.content)
            if request.url.path == "/permissions/profiles":
                self.active = body["active"]
            else:
                self.away = body["state"] == "on"
        if request.url.path == "/permissions/away":
            return httpx.Response(200, json={"away": self.away, "asks": "away"})
        profiles = [
            {"name": name, "in_force": name in self.active}
            for name in ("coding", "read-only", "night")
        ]
        return httpx.Response(200, json={"profiles": profiles, "active": self.active})


class Desk:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self.said: list[str] = []
        self.changes = 0
        self.switches = OwnerSwitches(EventFeed(client), self.said.append, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    async def press(self, *keys: str) -> None:
        for key in keys:
            work = self.switches.press(key)
            assert work is not None
            await work


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def desk(service: Service) -> Any:
    transport = httpx.MockTransport(service.answer)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield Desk(client)


async def test_keys_are_for_no_switch_until_the_switches_are_known(desk: Desk) -> None:
    assert desk.switches.press("w") is None
    assert desk.switches.press("p") is None
    await desk.switches.learn()
    assert desk.switches.press("x") is None
    assert desk.switches.press("1") is None
    assert desk.switches.status.endswith("Profiles: night (p: switch).")
    assert desk.changes == 1


async def test_a_number_switches_one_profile_and_leaves_the_others(
    desk: Desk, service: Service
) -> None:
    await desk.switches.learn()
    await desk.press("p")
    assert "1 [ ] coding   2 [ ] read-only   3 [x] night" in desk.switches.asked
    await desk.press("1")
    assert service.active == ["night", "coding"]
    data = {"in_force": ["night", "coding"], "by": "owner"}
    await desk.switches.take(FeedEvent("profiles", data))
    assert desk.said == ["Profiles in force: night, coding (by owner)."]
    await desk.press("3")
    assert service.active == ["coding"]


@pytest.mark.parametrize("key", ["escape", "9", "0", "²", "y"])
async def test_any_other_key_goes_back_and_switches_nothing(
    desk: Desk, service: Service, key: str
) -> None:
    await desk.switches.learn()
    await desk.press("p", key)
    assert (desk.switches.asked, service.active) == ("", ["night"])


async def test_a_refused_switch_is_said_and_not_shown(desk: Desk, service: Service) -> None:
    await desk.switches.learn()
    service.refuses = True
    await desk.press("w", "p", "1")
    assert [line.partition(": ")[2] for line in desk.said] == ["The file is broken. (HTTP 409)"] * 2
    assert "1 [ ] coding" in desk.switches.asked


async def test_the_presence_is_switched_to_its_opposite(desk: Desk, service: Service) -> None:
    await desk.switches.learn()
    await desk.press("w")
    assert service.away is True
    presence = {"away": True, "asks": "away", "until": None, "window": ""}
    await desk.switches.take(FeedEvent("presence", presence))
    assert "Away: hooks wait" in desk.switches.status
