"""The list price of a request, for limits in dollars."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.metering.list_price import DEAREST, ListPrice
from shared.accounts.prices import OWN_PRICES, Prices
from shared.bus.channels import AccessRecord

NOW = 1_795_953_600.0  # 2026-11-29


def record(model: str, **tokens: int) -> AccessRecord:
    return AccessRecord("req_1", NOW, "POST", "/", model=model, **tokens)


def test_a_known_model_costs_its_list_price(tmp_path: Path) -> None:
    asked = record("claude-sonnet-4-5", tokens_input=1_000_000)
    assert ListPrice(tmp_path / "none.json").of(asked) == Prices(tmp_path).cost(asked) > 0


def test_an_unknown_model_costs_as_much_as_the_dearest(tmp_path: Path) -> None:
    asked = record("model-of-tomorrow", tokens_input=1_000_000, tokens_output=1_000_000)
    assert ListPrice(tmp_path / "none.json").of(asked) == DEAREST.input + DEAREST.output


def test_a_request_without_tokens_is_free(tmp_path: Path) -> None:
    assert ListPrice(tmp_path / "none.json").of(record("")) == 0


@pytest.mark.parametrize("model", [*OWN_PRICES, "claude-opus-4-0", "gpt-5.5", "claude-haiku-4-5"])
def test_no_known_model_is_dearer_than_the_dearest(tmp_path: Path, model: str) -> None:
    price = Prices(tmp_path / "none.json").price(model, NOW)
    assert price is not None
    assert price.rates.input <= DEAREST.input
    assert price.rates.output <= DEAREST.output
