"""The list is fetched when needed, once at a time, and a provider that is away never costs a
request.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.proxy.catalogue import Catalogue
from shared.runtime.errors import UpstreamError

SONNET = {
    "id": "claude-sonnet-9",
    "line": "sonnet",
    "lifecycle": "active",
    "created_at": "2027-01-01",
    "max_tokens": 9,
}


class Provider:
    """Lists `models`, or fails while `away`."""

    def __init__(self, *models: dict[str, Any], away: bool = False) -> None:
        self.models = list(models)
        self.away = away
        self.asked = 0

    async def fetch(self) -> list[dict[str, Any]]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise UpstreamError("away")
        return self.models


async def test_many_who_ask_at_once_share_one_fetch() -> None:
    provider = Provider(SONNET)
    catalogue = Catalogue(provider.fetch, "anthropic", {})
    answers = await asyncio.gather(*(catalogue.listed() for _ in range(20)))
    assert all(answer == [SONNET] for answer in answers)
    assert provider.asked == 1


async def test_an_exact_name_needs_no_list() -> None:
    provider = Provider(SONNET)
    assert (
        await Catalogue(provider.fetch, "anthropic", {}).resolve("claude-sonnet-5-5")
        == "claude-sonnet-5-5"
    )
    assert provider.asked == 0


async def test_other_names_find_the_newest_that_is_listed() -> None:
    catalogue = Catalogue(Provider(SONNET).fetch, "anthropic", {"mine": "claude-x"})
    assert await catalogue.resolve("gpt-5.5") == "claude-sonnet-9"
    assert await catalogue.resolve("mine") == "claude-x"
    assert (await catalogue.capabilities("claude-sonnet-9")).max_output == 9


async def test_a_provider_that_is_away_is_asked_once_and_said_to_whoever_wants_the_list() -> None:
    provider = Provider(away=True)
    catalogue = Catalogue(provider.fetch, "anthropic", {})
    assert await catalogue.listed() == []
    with pytest.raises(UpstreamError, match="away"):
        await catalogue.demand()
    assert (provider.asked, catalogue.problem) == (1, "away")
    assert await catalogue.resolve("gpt-5.5") == "claude-sonnet-5-5"
