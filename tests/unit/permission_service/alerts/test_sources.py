"""What gateways share and analytics answers is read as far as it can be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from permission_service.alerts.providers import ProviderOutcomes
from permission_service.alerts.sources import StackSources
from shared.accounts.login import LoginFacts, login_key
from shared.accounts.quota import Quota, Window, quota_key
from shared.bus.channels import encode_payload
from shared.runtime.errors import BusUnavailable, NoWorker
from tests.unit.permission_service.conftest import MemoryBus


class AnsweringBus(MemoryBus):
    """A bus whose analytics answers `reply`, or raises it."""

    reply: Any = b"{}"

    @asynccontextmanager
    async def call(self, _channel: Any, payload: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        assert payload.name == "outcomes"
        if isinstance(self.reply, Exception):
            raise self.reply

        async def replies() -> AsyncIterator[bytes]:
            yield self.reply

        yield replies()


@pytest.fixture
def bus() -> AnsweringBus:
    return AnsweringBus()


@pytest.fixture
def sources(bus: AnsweringBus) -> StackSources:
    return StackSources(bus)  # type: ignore[arg-type]


async def test_quotas_and_logins_are_those_that_gateways_share(
    sources: StackSources, bus: AnsweringBus
) -> None:
    quota = Quota("claude", 1.0, [Window("5h", 0.5, 18_000.0, 2.0)])
    facts = LoginFacts("claude", "ours", 3.0)
    bus.keys[quota_key("claude")] = encode_payload(quota)
    bus.keys[quota_key("codex")] = b'{"of": "another version"}'
    bus.keys[login_key("claude", "gateway-1")] = encode_payload(facts)
    assert await sources.quotas() == [quota]
    assert await sources.logins() == [facts]


async def test_the_outcomes_are_those_that_analytics_answers(
    sources: StackSources, bus: AnsweringBus
) -> None:
    bus.reply = (
        b'{"results": [{"provider": "claude", "requests": 5, "failed": 3, "level": "fail", '
        b'"error_kind": "upstream", "last_failure": 2.5, "last_success": null, "later": 1}]}'
    )
    assert await sources.outcomes() == [
        ProviderOutcomes("claude", 5, 3, "fail", "upstream", 2.5, None)
    ]


@pytest.mark.parametrize(
    "reply", [NoWorker("away"), BusUnavailable(), b'{"results": 1}', TimeoutError()]
)
async def test_an_absent_analytics_answers_nothing(
    sources: StackSources, bus: AnsweringBus, reply: Any
) -> None:
    bus.reply = reply
    assert await sources.outcomes() is None
