"""A newer price list is fetched when asked, and a failure changes no price."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from analytics.price_updates import PricesUnavailable, PriceUpdates
from shared.accounts.prices import Prices
from shared.bus.channels import AccessRecord
from tests.unit.gateway.conftest import Connection, ScriptedProvider
from tests.unit.shared.accounts.test_prices import PUBLISHED


@pytest.fixture
async def publisher() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as scripted:
        yield scripted


def updates_from(url: str, tmp_path: Path) -> PriceUpdates:
    return PriceUpdates(Prices(tmp_path / "price-list.json"), url)


async def test_a_fetched_list_is_in_use_at_once(
    publisher: ScriptedProvider, tmp_path: Path
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.answer(orjson.dumps(PUBLISHED))

    publisher.scripts.append(answer)
    url = publisher.url + "/data.json"
    updates = updates_from(url, tmp_path)
    fetched = await updates.refresh()
    assert (fetched.models, fetched.source) == (1, url)
    assert fetched.as_of == updates.prices.as_of
    record = AccessRecord("r", 0.0, model="claude-next", tokens_input=1000)
    assert updates.prices.cost(record) == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        ("503 Service Unavailable", b"<html>", "503"),
        ("200 OK", b"<html>", "Expecting value"),
        ("200 OK", b"{}", "no list of genai-prices"),
    ],
)
async def test_a_list_that_cannot_be_fetched_changes_no_price(
    publisher: ScriptedProvider, tmp_path: Path, status: str, body: bytes, reason: str
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.answer(body, status)

    publisher.scripts.append(answer)
    updates = updates_from(publisher.url + "/data.json", tmp_path)
    before = updates.prices.as_of
    with pytest.raises(PricesUnavailable, match=reason):
        await updates.refresh()
    assert updates.prices.as_of == before
    assert PriceUpdates(Prices.load(tmp_path / "price-list.json"), "").prices.as_of == before


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "", "http://[::1/", "prices"])
async def test_an_address_without_a_list_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(PricesUnavailable, match="could not be fetched"):
        await updates_from(url, tmp_path).refresh()
