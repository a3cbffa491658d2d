"""What tokens cost, and that nobody pretends to know what nobody told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from analytics.pricing import PriceList, Prices, PricesUnavailable, read_published, shipped
from shared.bus.channels import AccessRecord
from tests.unit.gateway.conftest import Connection, ScriptedProvider

NOWHERE = "http://127.0.0.1:9/"


def took(model: str, **tokens: int) -> AccessRecord:
    return AccessRecord("r", 0.0, model=model, **tokens)  # type: ignore[arg-type]


def test_each_kind_of_token_has_its_price() -> None:
    record = took(
        "claude-opus-4-6",
        tokens_input=1_000_000,
        tokens_output=1_000_000,
        cache_read_tokens=1_000_000,
        cache_write_tokens=2_000_000,
        cache_write_1h_tokens=1_000_000,
    )
    assert shipped().cost(record) == pytest.approx(5 + 25 + 0.5 + 6.25 + 10)


def test_a_dated_snapshot_costs_what_its_line_costs() -> None:
    prices = shipped()
    assert prices.cost(took("claude-haiku-4-5-20251001", tokens_input=1000)) == pytest.approx(0.001)
    assert prices.cost(took("gpt-5-2025-08-07", tokens_output=1000)) == pytest.approx(0.01)


def test_a_long_prompt_costs_more_on_every_token_of_it_and_caches_count() -> None:
    prices = shipped()
    assert prices.cost(took("claude-sonnet-4-5", tokens_input=200_000)) == pytest.approx(0.6)
    long = took(
        "claude-sonnet-4-5", tokens_input=1, cache_read_tokens=200_000, tokens_output=1_000_000
    )
    assert prices.cost(long) == pytest.approx((6 + 200_000 * 0.6) / 1e6 + 22.5)


def test_what_nobody_told_is_unknown_and_never_zero() -> None:
    prices = shipped()
    assert prices.cost(took("claude-from-next-year", tokens_input=5)) is None
    assert prices.cost(took("gpt-5.4", tokens_input=300_000)) is None
    assert prices.cost(took("gpt-6.2-sol", tokens_input=272_000)) == pytest.approx(0.544)
    assert prices.cost(
        took("gpt-6.2-sol", tokens_input=273_000, tokens_output=1000)
    ) == pytest.approx(1.107)
    assert prices.cost(took("claude-opus-5")) is None


def test_a_cache_without_prices_of_its_own_costs_what_input_costs() -> None:
    prices = PriceList.model_validate(
        {"as_of": "2026-01-01", "source": "", "models": {"m": {"input": 2, "output": 4}}}
    )
    assert prices.cost(
        took("m", cache_read_tokens=500_000, cache_write_tokens=500_000)
    ) == pytest.approx(2)


def test_what_a_program_worked_out_itself_stands_in_for_a_missing_price(tmp_path: Path) -> None:
    prices = Prices.load(tmp_path / "prices.json", NOWHERE)
    known, unknown = took("claude-opus-5", tokens_input=1000), took("new", tokens_input=1000)
    known.cost_sdk_usd = unknown.cost_sdk_usd = 0.5
    prices.fill_in(known)
    prices.fill_in(unknown)
    assert (known.cost_usd, unknown.cost_usd) == (pytest.approx(0.005), 0.5)


PUBLISHED = {
    "sample_spec": {"litellm_provider": "one of many"},
    "anthropic/claude-next": {
        "litellm_provider": "anthropic",
        "input_cost_per_token": 2e-06,
        "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 2e-07,
        "input_cost_per_token_above_200k_tokens": 4e-06,
        "output_cost_per_token_above_200k_tokens": 2e-05,
    },
    "mistral-x": {
        "litellm_provider": "mistral",
        "input_cost_per_token": 1,
        "output_cost_per_token": 1,
    },
}


def test_the_published_list_is_read_into_ours() -> None:
    prices = read_published(PUBLISHED, "somewhere", date(2026, 11, 1))
    assert set(prices.models) == {"claude-next"}
    assert prices.cost(
        took("claude-next", tokens_input=1_000_000, tokens_output=1_000_000)
    ) == pytest.approx(4 + 20)


@pytest.mark.parametrize("document", [[], {}, {"mistral-x": PUBLISHED["mistral-x"]}])
def test_a_list_without_a_model_of_ours_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="no model"):
        read_published(document, "", date(2026, 11, 1))


@pytest.fixture
async def publisher() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as scripted:
        yield scripted


async def test_a_fetched_list_is_used_at_once_and_after_a_restart(
    publisher: ScriptedProvider, tmp_path: Path
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.answer(orjson.dumps(PUBLISHED))

    publisher.scripts.append(answer)
    path = tmp_path / "prices.json"
    prices = Prices.load(path, publisher.url + "/list.json")
    await prices.refresh()
    again = Prices.load(path, NOWHERE)
    for each in (prices, again):
        assert each.list.cost(took("claude-next", tokens_input=1000)) == pytest.approx(0.002)
        assert each.list.cost(took("claude-opus-5", tokens_input=1000)) == pytest.approx(0.005)


async def test_a_list_that_cannot_be_fetched_changes_nothing(
    publisher: ScriptedProvider, tmp_path: Path
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.answer(b"<html>", "503 Service Unavailable")

    publisher.scripts.append(answer)
    prices = Prices.load(tmp_path / "prices.json", publisher.url + "/list.json")
    before = prices.list
    with pytest.raises(PricesUnavailable, match="503"):
        await prices.refresh()
    assert prices.list is before
    assert not (tmp_path / "prices.json").exists()


def test_a_kept_list_that_is_damaged_is_left_aside(tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text("{")
    assert Prices.load(tmp_path / "prices.json", NOWHERE).list == shipped()
