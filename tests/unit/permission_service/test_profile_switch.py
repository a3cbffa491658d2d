"""A switch between profiles holds at once, is recorded with its maker, and decides what waits."""

# ruff: noqa: ASYNC240 - small files of the test itself

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.bus.channels import PermissionQuery, encode_payload
from shared.runtime.errors import ClientError, NotAllowed
from tests.unit.permission_service.conftest import Asked, Clock, MemoryBus, Room

MAKING = """[[profiles.making.rules]]
tool = "Bash"
command_prefix = "touch"
"""


@pytest.fixture(autouse=True)
def profile(rules_file: Path) -> None:
    rules_file.parent.mkdir(parents=True)
    rules_file.write_text(MAKING)


def switches(bus: MemoryBus) -> list[tuple[str, str, Any]]:
    records = [record for record in bus.published if record.outcome == "switched"]
    return [
        (record.decided_by, record.message, orjson.loads(record.input)["in_force"])
        for record in records
    ]


async def test_a_switch_decides_what_waits_and_names_the_profile(
    room: Room, bus: MemoryBus
) -> None:
    asked = room.ask("a")
    await room.pending("a")
    shown = await room.question("set_profiles", active=["making"])
    (decision,) = await asked.until(1)
    assert decision["outcome"] == "allowed"
    assert decision["rule"].startswith("making:rule_")
    assert (shown["active"], shown["by"]) == (["making"], "bob")
    (making,) = [known for known in shown["profiles"] if known["name"] == "making"]
    assert (making["in_force"], making["built_in"]) == (True, False)
    assert making["rules"][0]["text"] == "allow Bash: touch …, in the profile making"
    assert switches(bus) == [("bob", "", ["making"])]


async def test_the_denial_of_a_profile_binds_over_every_allow_rule(room: Room) -> None:
    await room.question("add_rule", tool="Bash")
    await room.question("set_profiles", active=["making", "read-only"])
    (decision,) = await room.ask("a").until(1)
    assert decision["outcome"] == "denied"
    assert decision["message"].endswith("(deny Bash, in the profile read-only).")
    await room.question("set_profiles", active=[])
    (decision,) = await room.ask("b").until(1)
    assert decision["outcome"] == "allowed"


async def test_a_switch_outlives_a_restart_which_is_no_switch(
    make_room: Callable[..., Room], bus: MemoryBus
) -> None:
    await make_room().question("set_profiles", active=["making"], while_away=["night"])
    again = make_room()
    await again.server.load()
    shown = await again.question("profiles")
    assert (shown["active"], shown["while_away"], shown["by"]) == (["making"], ["night"], "bob")
    assert shown["changed_at"].startswith("2023-11-14T22:13:20")
    (decision,) = await again.ask("a").until(1)
    assert decision["outcome"] == "allowed"
    assert len(switches(bus)) == 1


async def test_a_missing_list_stays_as_it_is(room: Room) -> None:
    await room.question("set_profiles", active=["making"], while_away=["night"])
    shown = await room.question("set_profiles", active=[])
    assert (shown["active"], shown["while_away"]) == ([], ["night"])


async def test_a_profile_follows_the_owner_who_leaves(room: Room, bus: MemoryBus) -> None:
    await room.question("set_profiles", while_away=["making"])
    room.ask("a")
    await room.pending("a")
    watcher = room.watch()
    await watcher.until(2)
    await room.question("set_away", "carol", state="on")
    names = [event.get("name") for event in await watcher.until(5)]
    assert names[2:] == ["presence", "profiles", "permission_resolved"]
    await room.question("set_away", "carol", state="off")
    room.ask("b")
    await room.pending("b")
    assert switches(bus) == [
        ("bob", "", []),
        ("carol", "The owner left.", ["making"]),
        ("carol", "The owner came back.", []),
    ]


async def test_a_profile_follows_the_end_of_a_time_away(
    make_room: Callable[..., Room], bus: MemoryBus
) -> None:
    clock = Clock()
    room = make_room(clock)
    await room.question("set_profiles", while_away=["making"])
    await room.question("set_away", state="for", seconds=0.05)
    room.start(room.server.hand_back_on_return())
    await asyncio.sleep(0)
    clock.now += 1
    async with asyncio.timeout(5):
        while len(switches(bus)) < 3:  # noqa: ASYNC110 - the bus tells nobody
            await asyncio.sleep(0)
    assert switches(bus)[-1] == ("bob", "The owner came back.", [])


async def test_a_change_of_the_file_by_hand_is_recorded_as_such(
    room: Room, bus: MemoryBus, rules_file: Path
) -> None:
    rules_file.write_text(MAKING + "[active]\nprofiles = ['making']\n")
    (decision,) = await room.ask("a").until(1)
    assert decision["outcome"] == "allowed"
    await room.question("set_away", state="on")
    assert switches(bus) == [("rules_file", "", ["making"])]


async def test_a_record_that_could_not_be_published_is_published_later(
    room: Room, bus: MemoryBus
) -> None:
    bus.down = True
    switching = room.start(room.question("set_profiles", active=["making"]))
    while not (await room.question("profiles"))["active"]:  # noqa: ASYNC110 - the bus tells nobody
        await asyncio.sleep(0)
    switching.cancel()
    await asyncio.gather(switching, return_exceptions=True)
    bus.down = False
    assert switches(bus) == []
    await room.question("set_profiles", active=[])
    assert [in_force for _, _, in_force in switches(bus)] == [["making"], []]


@pytest.mark.parametrize(
    "given",
    [{}, {"active": "making"}, {"active": [5]}, {"active": ["off"]}, {"while_away": ["../x"]}],
    ids=str,
)
async def test_a_choice_that_is_none_is_refused(room: Room, given: dict[str, Any]) -> None:
    with pytest.raises(ClientError):
        await room.question("set_profiles", **given)


async def test_a_caller_that_can_ask_switches_nothing(room: Room) -> None:
    async def by_agent(verb: str, **parameters: Any) -> None:
        query = PermissionQuery(verb, parameters, "agent", may_ask=True)
        await room.server.answer(Asked(encode_payload(query)))  # type: ignore[arg-type]

    with pytest.raises(NotAllowed):
        await by_agent("set_profiles", active=[])
    await by_agent("set_away", state="on")
    await room.question("set_profiles", while_away=["making"])
    with pytest.raises(NotAllowed):
        await by_agent("set_away", state="off")
