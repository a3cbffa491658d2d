"""An ask outlasts the desks that come and go; what cannot be asked raises."""

from __future__ import annotations

import pytest

from shared.bus.channels import (
    PermissionDecision,
    PermissionRequest,
    PermissionWaiting,
    encode_payload,
)
from shared.permissions.asking import ask_permission_service
from shared.permissions.fair_use import InputsInFlight
from shared.runtime.errors import BusUnavailable, CCProxyError, ClientError, NoWorker, WorkerLost
from tests.support.scripted_bus import ScriptedBus, Step

ASK = PermissionRequest("a", "Bash", {})


async def test_an_ask_is_placed_again_under_its_name_when_the_desk_is_replaced() -> None:
    decision = PermissionDecision("a", "allowed")
    bus = ScriptedBus([WorkerLost()], [NoWorker()], [encode_payload(decision)])
    assert await ask_permission_service(bus, InputsInFlight(), ASK) == decision  # type: ignore[arg-type]
    assert [ask.request_id for ask in bus.asked] == ["a", "a", "a"]


@pytest.mark.parametrize("script", [[BusUnavailable()], [ClientError("bad")], []])
async def test_what_cannot_be_asked_raises_at_once(script: list[Step]) -> None:
    bus = ScriptedBus(script)
    with pytest.raises(CCProxyError):
        await ask_permission_service(bus, InputsInFlight(), ASK)  # type: ignore[arg-type]
    assert len(bus.asked) == 1


async def test_only_an_excerpt_of_a_request_beyond_its_size_travels() -> None:
    decision = PermissionDecision("a", "denied", "no")
    bus = ScriptedBus([encode_payload(decision)])
    large = PermissionRequest("a", "Write", {"content": "x" * 1_000_000})
    assert await ask_permission_service(bus, InputsInFlight(), large) == decision  # type: ignore[arg-type]
    (sent,) = bus.asked
    assert len(encode_payload(sent)) < 2000
    assert "1,000,014 bytes" in sent.refused


async def test_only_an_excerpt_travels_beyond_the_bytes_of_a_caller() -> None:
    bus = ScriptedBus([encode_payload(PermissionDecision("a", "denied", "no"))])
    small = PermissionRequest("a", "Bash", {"command": "ls"}, caller="alice")
    in_flight = InputsInFlight(limit=10)
    await ask_permission_service(bus, in_flight, small)  # type: ignore[arg-type]
    assert "open requests would exceed" in bus.asked[0].refused


@pytest.mark.parametrize("waiting", [True, False])
async def test_an_asker_that_wants_both_replies_hears_whether_a_person_is_asked(
    waiting: bool,
) -> None:
    decision = PermissionDecision("a", "allowed")
    first = encode_payload(PermissionWaiting(waiting))
    # The first service dies between its two replies.
    bus = ScriptedBus([first, WorkerLost()], [first, encode_payload(decision)])
    heard: list[bool] = []
    ask = PermissionRequest("a", "Bash", {}, announces=True)
    found = await ask_permission_service(bus, InputsInFlight(), ask, lambda: heard.append(True))  # type: ignore[arg-type]
    assert found == decision
    assert bool(heard) is waiting
