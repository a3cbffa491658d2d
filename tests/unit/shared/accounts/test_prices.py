"""The cost of a request, by the prices that the providers publish."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import genai_prices
import orjson
import pytest

from shared.accounts.prices import (
    OWN_PRICES,
    SHIPPED_AS_OF,
    VENDORS,
    Price,
    Prices,
    Rates,
    find_in,
    price_of,
    read_list,
)
from shared.bus.channels import AccessRecord

TODAY = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
MILLION = 1_000_000
NEWER = date(2027, 1, 1)
PUBLISHED = [
    {
        "id": "anthropic",
        "name": "Anthropic",
        "api_pattern": "https://api\\.anthropic\\.com",
        "models": [
            {
                "id": "claude-next",
                "match": {"or": [{"equals": "claude-next"}, {"starts_with": "claude-next@"}]},
                "prices": {
                    "input_mtok": {"base": 2, "tiers": [{"start": 200_000, "price": 4}]},
                    "output_mtok": {"base": 10, "tiers": [{"start": 200_000, "price": 20}]},
                },
            }
        ],
    },
    {"id": "mistral", "name": "Mistral", "api_pattern": "x", "models": [{"id": 1}]},
]


def took(model: str, **tokens: int) -> AccessRecord:
    return AccessRecord("r", TODAY, model=model, **tokens)  # type: ignore[arg-type]


@pytest.fixture
def prices(tmp_path: Path) -> Prices:
    return Prices(tmp_path / "price-list.json")


# Input, output, cache read, cache kept for five minutes and for an hour, in dollars per million
# tokens, from the providers' pages of prices in November 2026.
ON_THE_PAGES = {
    "claude-fable-5-1": (10, 50, 0.25, 12.5, 20),
    "claude-mythos-5-1": (10, 50, 0.25, 12.5, 20),
    "claude-mythos-5": (10, 50, 1, 12.5, 20),
    "claude-opus-5-5": (4, 20, 0.2, 5, 8),
    "claude-opus-5": (5, 25, 0.5, 6.25, 10),
    "claude-opus-4-6": (5, 25, 0.5, 6.25, 10),
    "claude-opus-4-1": (15, 75, 1.5, 18.75, 30),
    "claude-sonnet-5-5": (2, 10, 0.1, 2.5, 4),
    "claude-sonnet-4-6": (3, 15, 0.3, 3.75, 6),
    "claude-haiku-5-5": (0.1, 0.5, 0.01, 0.125, 0.2),
    "claude-haiku-4-5": (1, 5, 0.1, 1.25, 2),
    "gpt-6.2-astra": (8, 40, 0.4, 10, 10),
    "gpt-6.2-sol": (2, 10, 0.1, 2.5, 2.5),
    "gpt-6.1-sol": (2, 10, 0.1, 2.5, 2.5),
    "gpt-6-luna": (0.1, 0.5, 0.01, 0.125, 0.125),
    "gpt-5.6-sol": (4, 20, 0.4, 5, 5),
    "gpt-5.5": (5, 30, 0.5, 5, 5),
    "gpt-5.3-codex": (1.75, 14, 0.175, 1.75, 1.75),
    "gpt-5": (1.25, 10, 0.125, 1.25, 1.25),
}


@pytest.mark.parametrize("model", ON_THE_PAGES)
def test_each_kind_of_token_costs_its_published_rate(prices: Prices, model: str) -> None:
    price = prices.price(model, TODAY)
    assert price is not None
    assert price.rates == Rates(*ON_THE_PAGES[model])


def test_a_request_costs_the_sum_of_its_kinds_of_tokens(prices: Prices) -> None:
    record = took(
        "claude-opus-4-6",
        tokens_input=MILLION,
        tokens_output=MILLION,
        cache_read_tokens=MILLION,
        cache_write_tokens=2 * MILLION,
        cache_write_1h_tokens=MILLION,
    )
    assert prices.cost(record) == pytest.approx(5 + 25 + 0.5 + 6.25 + 10)
    # The hour's part can never be more than the whole.
    record.cache_write_1h_tokens = 3 * MILLION
    assert prices.cost(record) == pytest.approx(5 + 25 + 0.5 + 2 * 10)


@pytest.mark.parametrize(
    ("snapshot", "line"),
    [
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-opus-5-5-20261010", "claude-opus-5-5"),
        ("claude-opus-5-5[1m]", "claude-opus-5-5"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4"),
        ("claude-mythos-5-1-20261003", "claude-mythos-5-1"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("gpt-5.4-mini-2026-09-01", "gpt-5.4-mini"),
        ("gpt-6.2-sol-2026-11-17", "gpt-6.2-sol"),
    ],
)
def test_a_dated_snapshot_costs_what_its_line_costs(
    prices: Prices, snapshot: str, line: str
) -> None:
    found = prices.price(snapshot, TODAY)
    assert found is not None
    assert found == prices.price(line, TODAY)


@pytest.mark.parametrize(
    ("model", "bound", "above"),
    [
        ("claude-sonnet-4-5", 200_000, Rates(6, 22.5, 0.6, 7.5, 12)),
        ("claude-haiku-5-5", 100_000, Rates(0.5, 2.5, 0.05, 0.625, 1)),
        ("gpt-5.4", 272_000, Rates(5, 22.5, 0.5, 5, 5)),
        ("gpt-5.6-terra", 272_000, Rates(4, 18, 0.4, 5, 5)),
        ("gpt-6.2-sol", 272_000, Rates(4, 15, 0.2, 5, 5)),
    ],
)
def test_a_long_prompt_costs_the_long_rates_on_every_token(
    prices: Prices, model: str, bound: int, above: Rates
) -> None:
    price = prices.price(model, TODAY)
    assert price is not None
    at_the_bound = took(model, tokens_input=bound, tokens_output=1000)
    assert price.cost(at_the_bound) == price.rates.cost(at_the_bound)
    # Tokens of the cache count as the prompt's too.
    longer = took(model, tokens_input=1, cache_read_tokens=bound, tokens_output=1000)
    assert price.cost(longer) == pytest.approx(above.cost(longer))


def test_a_model_without_a_long_rate_costs_the_same_at_any_length(prices: Prices) -> None:
    assert prices.cost(took("claude-sonnet-4-6", tokens_input=900_000)) == pytest.approx(2.7)


def test_the_price_is_the_one_of_the_day_of_the_request(prices: Prices) -> None:
    record = took("gpt-5.6-luna", tokens_input=MILLION)
    record.timestamp = datetime(2026, 7, 29, 23, 59, tzinfo=UTC).timestamp()
    before = prices.cost(record)
    record.timestamp = datetime(2026, 7, 30, tzinfo=UTC).timestamp()
    assert before != prices.cost(record)


@pytest.mark.parametrize(
    "model",
    [
        "claude-from-next-year",
        "claude-opus-6",
        "claude-opus-5-6",
        "claude-opus-5-5-fast",
        "gpt-7",
        "gpt-6.3-sol",
        "gpt-5.6-sol-max",
        "codex-auto-review",
        "",
        "mistral-large-latest",
    ],
)
def test_a_model_without_a_known_price_has_no_cost(prices: Prices, model: str) -> None:
    assert prices.cost(took(model, tokens_input=5)) is None


def test_a_model_that_is_priced_by_tokens_no_record_counts_has_no_cost(prices: Prices) -> None:
    assert prices.cost(took("gpt-image-1", tokens_input=5, tokens_output=5)) is None
    assert prices.cost(took("gpt-realtime", tokens_input=5)) is None


def test_a_request_without_tokens_has_no_cost(prices: Prices) -> None:
    assert prices.cost(took("claude-opus-5")) is None


# The model, the tier that its reply names, the dollars of a million tokens of input, and whether
# that is the standard price for want of another. From the providers' pages in November 2026.
IN_TIERS = [
    ("claude-opus-4-8", "fast", 10, False),
    ("claude-opus-4-8", "batch", 2.5, False),
    ("claude-opus-4-8", "priority", 5, True),
    ("claude-haiku-4-5", "fast", 1, True),
    ("gpt-6.1-sol", "priority", 8, False),
    ("gpt-6.1-sol", "flex", 2, False),
    ("gpt-6.1-sol", "invented", 4, True),
    ("gpt-6.1-sol", "", 4, False),
    ("gpt-6.2-sol", "batch", 2, False),
    ("gpt-6.2-sol", "priority", 4, True),
]


@pytest.mark.parametrize(("model", "tier", "dollars", "as_standard"), IN_TIERS)
def test_a_service_tier_costs_its_own_price_or_is_marked_as_priced_as_standard(
    prices: Prices, model: str, tier: str, dollars: float, as_standard: bool
) -> None:
    record = took(model, tokens_input=MILLION)
    record.service_tier = tier
    prices.fill_in(record)
    assert (record.cost_usd, record.priced_as_standard) == (pytest.approx(dollars), as_standard)


def test_a_tier_costs_the_standard_price_before_the_day_of_its_own(prices: Prices) -> None:
    before = datetime(2026, 10, 11, tzinfo=UTC).timestamp()
    record = AccessRecord("r", before, model="gpt-6-sol", tokens_input=1000, service_tier="flex")
    prices.fill_in(record)
    assert (record.cost_usd, record.priced_as_standard) == (pytest.approx(0.002), True)


def test_a_model_without_a_price_is_not_marked_as_priced_as_standard(prices: Prices) -> None:
    record = took("invented", tokens_input=1000)
    record.service_tier = "priority"
    prices.fill_in(record)
    assert (record.cost_usd, record.priced_as_standard) == (None, False)


def test_a_fetched_list_knows_the_prices_of_tiers(prices: Prices) -> None:
    variant = {"when": {"speed": "fast"}, "prices": {"input_mtok": 7}}
    published = [
        PUBLISHED[0] | {"models": [PUBLISHED[0]["models"][0] | {"price_variants": [variant]}]}
    ]  # type: ignore[index]
    prices.keep(published, NEWER)
    record = took("claude-next", tokens_input=1000)
    record.service_tier = "fast"
    assert prices.cost(record) == pytest.approx(0.007)


def test_the_own_sum_of_a_program_stands_in_for_a_missing_price(prices: Prices) -> None:
    known, unknown = took("claude-opus-5", tokens_input=1000), took("new", tokens_input=1000)
    known.cost_sdk_usd = unknown.cost_sdk_usd = 0.5
    prices.fill_in(known)
    prices.fill_in(unknown)
    assert (known.cost_usd, unknown.cost_usd) == (pytest.approx(0.005), 0.5)
    known.cost_usd = 7.0
    prices.fill_in(known)
    assert known.cost_usd == 7.0


def test_our_own_prices_are_of_models_that_the_library_does_not_know() -> None:
    shipped = genai_prices.data_snapshot.get_snapshot()
    now = datetime.fromtimestamp(TODAY, UTC)
    assert [model for model in OWN_PRICES if find_in(shipped, model, now)] == []


def test_the_date_of_the_shipped_prices_is_that_of_the_pinned_library() -> None:
    # With another version: write its release day into SHIPPED_AS_OF, and its number here.
    assert (version("genai-prices"), SHIPPED_AS_OF) == ("0.2.3", date(2026, 11, 10))


def test_the_cost_is_the_one_that_the_library_itself_works_out(prices: Prices) -> None:
    # Two ways to one sum: our arithmetic over the library's rates, and the library's own.
    compared = in_tiers = 0
    for vendor in VENDORS:
        provider = genai_prices.data_snapshot.get_snapshot().find_provider(None, vendor, None)
        for model in provider.models:
            price = prices.price(model.id, TODAY)
            for prompt in (40_000, 800_000):
                record = took(
                    model.id,
                    tokens_input=prompt,
                    tokens_output=7_000,
                    cache_read_tokens=9_000,
                    cache_write_tokens=8_000,
                    cache_write_1h_tokens=5_000,
                )
                if price is not None:
                    compared += 1
                    assert price.cost(record) == pytest.approx(by_the_library(vendor, record))
                for variant in model.price_variants or ():
                    (tier,) = variant.when.values()
                    record.service_tier = "" if tier == "default" else tier
                    in_tier = prices.price_for(record)
                    if in_tier is not None:
                        in_tiers += 1
                        assert in_tier.tier == record.service_tier
                        worked_out = by_the_library(vendor, record, variant.when)
                        assert in_tier.cost(record) == pytest.approx(worked_out)
    assert compared > 100
    assert in_tiers > 100


def by_the_library(vendor: str, record: AccessRecord, tier: dict[str, str] | None = None) -> float:
    usage = genai_prices.Usage(
        input_tokens=record.tokens_input + record.cache_read_tokens + record.cache_write_tokens,
        output_tokens=record.tokens_output,
        cache_read_tokens=record.cache_read_tokens,
        cache_write_tokens=record.cache_write_tokens,
        cache_write_1h_tokens=record.cache_write_1h_tokens,
    )
    answer = genai_prices.calc_price(
        usage,
        record.model,
        provider_id=vendor,
        genai_request_timestamp=datetime.fromtimestamp(TODAY, UTC),
        price_context=tier,
    )
    return float(answer.total_price)


def test_a_cache_without_rates_of_its_own_costs_the_rate_of_input() -> None:
    read = read_list(PUBLISHED)
    found = find_in(read, "claude-next", datetime.fromtimestamp(TODAY, UTC))
    assert found is not None
    expected = Price(Rates(2, 10, 2, 2, 2), long=((200_000, Rates(4, 20, 4, 4, 4)),))
    assert price_of(*found) == expected


def test_a_fetched_list_is_used_at_once_and_after_a_restart(prices: Prices, tmp_path: Path) -> None:
    assert prices.cost(took("claude-next", tokens_input=1000)) is None
    assert prices.keep(PUBLISHED, NEWER) == 1
    for each in (prices, Prices.load(tmp_path / "price-list.json")):
        assert each.as_of == NEWER
        assert each.cost(took("claude-next", tokens_input=1000)) == pytest.approx(0.002)
        assert each.cost(took("claude-next", tokens_input=MILLION)) == pytest.approx(4)
        # Models that the fetched list leaves out are still known.
        assert each.cost(took("claude-opus-5", tokens_input=1000)) == pytest.approx(0.005)
        assert each.cost(took("gpt-6.2-sol", tokens_input=1000)) == pytest.approx(0.002)


def test_a_fetched_price_wins_over_the_price_of_the_library(prices: Prices) -> None:
    dearer = orjson.loads(orjson.dumps(PUBLISHED).replace(b"claude-next", b"claude-opus-5"))
    prices.keep(dearer, NEWER)
    assert prices.cost(took("claude-opus-5", tokens_input=1000)) == pytest.approx(0.002)


def test_a_fetched_list_that_is_older_than_the_library_is_left_aside(
    prices: Prices, tmp_path: Path
) -> None:
    prices.keep(PUBLISHED, date(2026, 1, 1))
    again = Prices.load(tmp_path / "price-list.json")
    assert again.as_of == SHIPPED_AS_OF
    assert again.cost(took("claude-next", tokens_input=1000)) is None


def changed(**facts: Any) -> list[dict[str, Any]]:
    """Return a list whose only model has other facts."""
    document: list[dict[str, Any]] = orjson.loads(orjson.dumps(PUBLISHED[:1]))
    document[0]["models"][0] |= facts
    return document


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        "text",
        None,
        PUBLISHED[1:],
        [{"id": "openai", "models": []}],
        [{"id": "anthropic", "models": "many"}],
        changed(match={}),
        changed(match="claude"),
        changed(match={"unheard_of": "x"}),
        changed(prices="cheap"),
        changed(prices={"input_mtok": "much"}),
        # The form of another project's list.
        {"claude-next": {"litellm_provider": "anthropic", "input_cost_per_token": 2e-06}},
    ],
)
def test_another_document_changes_no_price(prices: Prices, tmp_path: Path, document: Any) -> None:
    with pytest.raises(ValueError, match=r"(?s).+"):
        prices.keep(document, NEWER)
    assert prices.as_of == SHIPPED_AS_OF
    assert not (tmp_path / "price-list.json").exists()


def test_a_list_that_cannot_be_stored_changes_no_price(tmp_path: Path) -> None:
    (tmp_path / "price-list.json").mkdir()
    prices = Prices(tmp_path / "price-list.json")
    with pytest.raises(OSError, match=r"price-list\.json"):
        prices.keep(PUBLISHED, NEWER)
    assert prices.as_of == SHIPPED_AS_OF
    assert prices.cost(took("claude-next", tokens_input=5)) is None


def test_each_of_several_bounds_has_its_rates(prices: Prices) -> None:
    tiers = [{"start": 500, "price": 4}, {"start": 100, "price": 2}]
    prices.keep(
        changed(prices={"input_mtok": {"base": 1, "tiers": tiers}, "output_mtok": 8}), NEWER
    )
    costs = [prices.cost(took("claude-next", tokens_input=count)) for count in (100, 101, 500, 501)]
    assert costs == pytest.approx([100 / MILLION, 202 / MILLION, 1000 / MILLION, 2004 / MILLION])


@pytest.mark.parametrize(
    "facts",
    [
        {"prices": []},
        {"prices": {"input_mtok": -1, "output_mtok": 1}},
        {"prices": {"input_mtok": 1}},
        {"prices": {"input_mtok": 1, "output_mtok": 1, "input_smell_mtok": 1}},
        {"match": {"regex": "("}},
    ],
)
def test_a_price_that_cannot_be_used_is_unknown(prices: Prices, facts: dict[str, Any]) -> None:
    prices.keep(changed(**facts), NEWER)
    assert prices.cost(took("claude-next", tokens_input=5)) is None


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"as_of": "2027-01-01"}',
        b'{"as_of": 5, "providers": []}',
        b'{"as_of": "2027-01-01", "providers": []}',
    ],
)
def test_a_kept_list_that_is_damaged_is_left_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "price-list.json"
    path.write_bytes(content)
    assert Prices.load(path).as_of == SHIPPED_AS_OF


def test_the_prices_of_many_invented_models_are_not_remembered_forever(prices: Prices) -> None:
    for number in range(3_000):
        prices.price(f"invented-{number}", TODAY)
    assert len(prices._known) <= 2_048


def test_a_process_that_prices_no_request_does_not_load_the_library(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from shared.accounts.prices import Prices
from shared.bus.channels import AccessRecord
prices = Prices.load(Path({str(tmp_path)!r}) / "price-list.json")
prices.fill_in(AccessRecord("r", 0.0, model="claude-opus-5"))
print("genai_prices.types" in sys.modules)
prices.fill_in(AccessRecord("r", 0.0, model="claude-opus-5", tokens_input=1))
print("genai_prices.types" in sys.modules, "httpx2._client" in sys.modules)
"""
    ended = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert re.findall(r"\w+", ended.stdout) == ["False", "True", "False"]
