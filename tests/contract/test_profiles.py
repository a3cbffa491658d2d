"""Profiles over a real Redis and gateway: a switch holds at once, and survives a restart of the
permission service.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.bus.channels import PERMISSION_AUDIT, PermissionAudit, decode_payload
from shared.bus.serving import serve_each
from tests.conftest import BusFactory
from tests.support.permission_stack import Front, running_desk, running_front

AGENT = {"name": "agent", "token": "a-token-of-an-agent", "scopes": ["agent", "approve"]}
OWNER = "an-owner-token-of-enough-characters"


async def switch(front: Front, **choice: Any) -> dict[str, Any]:
    answer = await front.client.post("/permissions/profiles", json=choice)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_switch_binds_at_once_and_survives_a_restart(
    redis_url: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rules]]\ntool = "Bash"\n')
    async with running_front(redis_url) as front:
        async with running_desk(redis_url, rules):
            assert (await front.check())["behavior"] == "allow"
            shown = await switch(front, active=["read-only"])
            assert (shown["active"], shown["by"]) == (["read-only"], "local")
            denied = await front.check()
            assert denied["behavior"] == "deny"
            assert "in the profile read-only" in denied["message"]
        async with running_desk(redis_url, rules):
            assert (await front.check())["behavior"] == "deny"
            await switch(front, active=[], while_away=["read-only"])
            assert (await front.check())["behavior"] == "allow"
            await front.client.post("/permissions/away", json={"state": "on"})
            assert (await front.check())["behavior"] == "deny"
            copied = await front.client.post("/permissions/profiles/read-only/copy", json={})
            assert copied.status_code == 200
            assert "[profiles.read-only]" in rules.read_text()
            again = await front.client.post("/permissions/profiles/read-only/copy", json={})
            assert again.status_code == 409


async def test_every_switch_is_in_the_records_with_its_maker(
    redis_url: str, tmp_path: Path, bus_factory: BusFactory
) -> None:
    records = asyncio.Queue[PermissionAudit]()
    stop = asyncio.Event()

    async def keep(delivery: Any) -> None:
        records.put_nowait(decode_payload(PermissionAudit, delivery.payload))

    bus = await bus_factory("analytics")
    keeping = asyncio.create_task(serve_each(bus, PERMISSION_AUDIT, keep, slots=1, stop=stop))
    async with (
        running_desk(redis_url, tmp_path / "rules.toml"),
        running_front(redis_url) as front,
        front.watch() as watching,
    ):
        await switch(front, active=["night"])
        (event,) = await watching.until("profiles")
        assert (event.data["in_force"], event.data["by"]) == (["night"], "local")
        async with asyncio.timeout(20):
            record = await records.get()
    assert (record.outcome, record.decided_by) == ("switched", "local")
    assert orjson.loads(record.input)["in_force"] == ["night"]
    stop.set()
    await keeping


@pytest.mark.parametrize(
    ("choice", "status"),
    [({}, 400), ({"active": ["evening"]}, 404), ({"active": "night"}, 400), ({"on": []}, 400)],
    ids=str,
)
async def test_a_choice_that_is_none_is_refused(
    redis_url: str, tmp_path: Path, choice: dict[str, Any], status: int
) -> None:
    async with running_desk(redis_url, tmp_path / "rules.toml"), running_front(redis_url) as front:
        answer = await front.client.post("/permissions/profiles", json=choice)
        assert answer.status_code == status
        assert not (tmp_path / "rules.toml").exists()


async def test_a_token_of_an_agent_switches_nothing(redis_url: str, tmp_path: Path) -> None:
    security = {"auth_token": OWNER, "tokens": [AGENT]}
    async with (
        running_desk(redis_url, tmp_path / "rules.toml"),
        running_front(redis_url, security=security) as front,
    ):
        front.client.headers["x-api-key"] = OWNER
        await switch(front, while_away=["night"])
        front.client.headers["x-api-key"] = str(AGENT["token"])
        for path, body in (
            ("/permissions/profiles", {"active": []}),
            ("/permissions/profiles/night/copy", {}),
            ("/permissions/away", {"state": "on"}),
        ):
            refused = await front.client.post(path, json=body)
            assert refused.status_code == 403, path
            assert "cannot change the rules" in refused.json()["error"]["message"]
        assert (await front.client.get("/permissions/profiles")).status_code == 200
