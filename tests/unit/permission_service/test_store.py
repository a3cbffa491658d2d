"""The permission requests that are kept are found again by the next process."""

from __future__ import annotations

from permission_service.requests import PermissionRequests
from permission_service.store import RequestStore, insist
from shared.bus.channels import PermissionRequest
from shared.runtime.errors import BusUnavailable
from tests.conftest import BusFactory

NOW = 1_700_000_000.0


async def test_cases_come_back_as_they_were_and_every_key_ends(bus_factory: BusFactory) -> None:
    store, requests = RequestStore(await bus_factory("permission_service")), PermissionRequests(0)
    for_ever = requests.open(
        PermissionRequest("a", "Bash", {"deep": [1, {"x": None}]}, caller="é"), NOW
    )
    limited = requests.open(
        PermissionRequest("b", "Bash", {}, timeout_seconds=5, asked_at=NOW), NOW
    )
    for stored in (for_ever, limited, requests.expire(limited, NOW)):
        await store.save(stored, now=NOW)
    found = {stored.id: stored for stored in await store.load()}
    assert found["a"] == for_ever
    assert found["b"].status == "expired"


async def test_insisting_outlasts_a_short_outage() -> None:
    tries = []

    async def write() -> None:
        tries.append(1)
        if len(tries) < 2:
            raise BusUnavailable

    await insist(write)
    assert len(tries) == 2
