"""An ask outlasts the desks that come and go; what cannot be asked raises."""

from __future__ import annotations

import pytest

from shared.channels import PermissionAsk, PermissionDecision, encode
from shared.desk import ask_desk
from shared.errors import BusUnavailable, CCProxyError, ClientError, NoWorker, WorkerLost
from tests.scripted_bus import ScriptedBus, Step

ASK = PermissionAsk("a", "Bash", {})


async def test_an_ask_is_placed_again_under_its_name_when_the_desk_is_replaced() -> None:
    decision = PermissionDecision("a", "allowed")
    bus = ScriptedBus([WorkerLost()], [NoWorker()], [encode(decision)])
    assert await ask_desk(bus, ASK) == decision  # type: ignore[arg-type]
    assert [ask.request_id for ask in bus.asked] == ["a", "a", "a"]


@pytest.mark.parametrize("script", [[BusUnavailable()], [ClientError("bad")], []])
async def test_what_cannot_be_asked_raises_at_once(script: list[Step]) -> None:
    bus = ScriptedBus(script)
    with pytest.raises(CCProxyError):
        await ask_desk(bus, ASK)  # type: ignore[arg-type]
    assert len(bus.asked) == 1
