"""Every request for permission is kept once, however often it comes and however long the file is
away.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analytics.audit import AuditTrail
from analytics.questions import Permissions
from analytics.store import Store
from shared.bus.channels import PermissionAudit, encode_payload

NOON = 1_760_000_000.0


class Published:
    def __init__(self, payload: bytes) -> None:
        self.payload = payload


def record(
    request_id: str = "a", asked_at: float = NOON, outcome: str = "allowed"
) -> PermissionAudit:
    return PermissionAudit(
        request_id, asked_at, "Bash", '{"command":"ls"}', "alice", "s1", "/work", outcome, "bob"
    )


async def keep(store: Store, *payloads: Any) -> None:
    trail = AuditTrail(store, retry_seconds=0.01)
    for payload in payloads:
        await trail.keep(
            Published(payload if isinstance(payload, bytes) else encode_payload(payload))
        )  # type: ignore[arg-type]


async def kept(store: Store, **wanted: Any) -> list[dict[str, Any]]:
    return await store.query("permissions", Permissions(**wanted).model_dump())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "metrics.duckdb")


async def test_a_record_is_kept_once_latest_first_and_can_be_filtered(store: Store) -> None:
    await store.open()
    await keep(store, record("a"), record("b", NOON + 1, "denied"), record("a"))
    rows = await kept(store)
    assert [row["request_id"] for row in rows] == ["b", "a"]
    assert (
        rows[1].items()
        >= {"caller": "alice", "decided_by": "bob", "input": '{"command":"ls"}'}.items()
    )
    assert rows[1]["asked_at"] == "2025-10-09T08:53:20.000000Z"
    assert [row["request_id"] for row in await kept(store, outcome="denied")] == ["b"]
    assert await kept(store, tool_name="Read") == []
    assert await kept(store, outcome="undecided") == []
    assert [row["request_id"] for row in await kept(store, start_time=NOON + 0.5)] == ["b"]
    await store.close()


async def test_a_record_comes_back_with_its_program_machine_and_circumstances(store: Store) -> None:
    await store.open()
    known = {"program": "claude", "machine": "box", "circumstances": '{"bypass":true}'}
    await keep(store, replace(record(), **known))
    [row] = await kept(store)
    assert row.items() >= known.items()
    await store.close()


async def test_a_record_waits_for_a_file_that_is_away(store: Store) -> None:
    keeping = asyncio.create_task(keep(store, record()))
    await asyncio.sleep(0.03)
    assert not keeping.done()
    await store.open()
    await keeping
    assert len(await kept(store)) == 1
    await store.close()


@pytest.mark.parametrize(
    "payload",
    [b"{}", b"x", b"x" * 499 + "é".encode(), record(asked_at=1e300), record(asked_at=float("inf"))],
)
async def test_what_can_never_be_kept_is_let_go(store: Store, payload: Any) -> None:
    await store.open()
    await keep(store, payload)
    assert await kept(store) == []
    await store.close()


async def test_a_record_that_comes_twice_at_once_is_kept_once(store: Store) -> None:
    await store.open()
    trail = AuditTrail(store)
    deliveries = [
        Published(encode_payload(record(f"r{number}"))) for number in range(20) for _ in range(2)
    ]
    await asyncio.gather(*(trail.keep(delivery) for delivery in deliveries))  # type: ignore[arg-type]
    rows = await kept(store)
    assert sorted(row["request_id"] for row in rows) == sorted(f"r{number}" for number in range(20))
