"""List prices of tokens: the cost of a request, whoever pays.

The rates come from the library genai-prices: from its tables as installed, or from a newer list of
the same project that the owner has fetched. OWN_PRICES adds models that the library does not know
yet. The library gives the rates of a model on a day; the sum is ours, because the library's own sum
takes a millisecond.

Invariant: a model without a known price has no cost, never zero. A service tier without a known
price costs what the standard tier costs, and the record is marked. Nothing here uses the network,
and a process that prices no request never loads the library.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import genai_prices
import orjson

from shared.bus.channels import AccessRecord
from shared.runtime.files import replace_private
from shared.runtime.log import get_log

FETCHED_PRICES = "price-list.json"  # the list that the owner fetched, beside the database
MILLION = 1_000_000
DAY_SECONDS = 86_400
VENDORS = ("anthropic", "openai")  # names of the library
# The release day of the library's version in pyproject.toml; its tables carry no date.
SHIPPED_AS_OF = date(2026, 11, 10)
# Dated snapshots and long windows cost what their line costs, unless the library knows better.
SUFFIX = re.compile(r"(-\d{8}|-\d{4}-\d{2}-\d{2}|-latest|\[1m\])+$")
KNOWN_PRICES = 2_048  # a client may choose any name for a model
BATCH = "batch"
BATCH_FACTOR = 0.5  # both providers charge half in a batch, by their pages of prices on 2026-11-18
# The library's names for the kinds of tokens of an AccessRecord.
KINDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
}
PER_TOKEN = "_mtok"  # the end of the library's names for prices of tokens


@dataclass(frozen=True, slots=True)
class Rates:
    """Dollars per million tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    cache_write_1h: float

    def times(self, factor: float) -> Rates:
        """Return the rates times `factor`."""
        return Rates(*(factor * getattr(self, kind) for kind in KINDS))

    def cost(self, record: AccessRecord) -> float:
        """Return the dollars for the tokens of `record`."""
        # A part of `cache_write_tokens`, never more: the two counts come from the provider apart.
        kept_an_hour = min(record.cache_write_1h_tokens, record.cache_write_tokens)
        spent = (
            record.tokens_input * self.input
            + record.tokens_output * self.output
            + record.cache_read_tokens * self.cache_read
            + (record.cache_write_tokens - kept_an_hour) * self.cache_write
            + kept_an_hour * self.cache_write_1h
        )
        return spent / MILLION


@dataclass(frozen=True, slots=True)
class Price:
    """The rates of a model. `long` has the rates of prompts of more tokens than a bound, with the
    highest bound first. `tier` is the service tier that the rates are of, empty for the standard.

    The rates of a prompt apply to all of its tokens, those of the reply included.
    """

    rates: Rates
    long: tuple[tuple[int, Rates], ...] = ()
    tier: str = ""

    def cost(self, record: AccessRecord) -> float:
        """Return the dollars for the tokens of `record`."""
        prompt = record.tokens_input + record.cache_read_tokens + record.cache_write_tokens
        for above, rates in self.long:
            if prompt > above:
                return rates.cost(record)
        return self.rates.cost(record)


# Models that the installed library does not know, from the providers' pages of prices on
# 2026-11-18. A test names each row that the library knows by now.
OWN_PRICES = {
    "claude-mythos-5": Price(Rates(10, 50, 1, 12.5, 20)),
    "claude-mythos-5-1": Price(Rates(10, 50, 0.25, 12.5, 20)),
    "gpt-6.2-astra": Price(
        Rates(8, 40, 0.4, 10, 10), long=((272_000, Rates(16, 60, 0.8, 20, 20)),)
    ),
    "gpt-6.2-sol": Price(Rates(2, 10, 0.1, 2.5, 2.5), long=((272_000, Rates(4, 15, 0.2, 5, 5)),)),
}


class Prices:
    """The prices in use. `path` has the fetched list, in use only if newer than the library's own
    list.
    """

    def __init__(self, path: Path) -> None:
        self.as_of = SHIPPED_AS_OF
        self._path = path
        self._fetched: genai_prices.data_snapshot.DataSnapshot | None = None
        # by model, day and tier
        self._known: dict[tuple[str, int, str], Price | None] = {}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the prices, with the list at `path` if the list can be read."""
        prices = cls(path)
        try:
            kept = orjson.loads(path.read_bytes())
            as_of = date.fromisoformat(kept["as_of"])
            if as_of > prices.as_of:
                prices._use(read_list(kept["providers"]), as_of)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError) as error:
            get_log().warning("price_list_unreadable", path=str(path), reason=str(error))
        return prices

    def cost(self, record: AccessRecord) -> float | None:
        """Return the dollars for a request, or None without tokens or without a known price."""
        if not (
            record.tokens_input
            or record.tokens_output
            or record.cache_read_tokens
            or record.cache_write_tokens
        ):
            return None
        price = self.price_for(record)
        return price.cost(record) if price else None

    def cost_of_miss(self, record: AccessRecord, missed_tokens: int) -> float | None:
        """Return the dollars that a request cost more than if `missed_tokens` had been read from
        the cache; None without a known price.
        """
        price = self.price_for(record)
        if price is None:
            return None
        # The beginning of a prompt is what is written for an hour, if any of it is.
        written = min(missed_tokens, record.cache_write_tokens)
        hit = replace(
            record,
            tokens_input=max(0, record.tokens_input - (missed_tokens - written)),
            cache_read_tokens=record.cache_read_tokens + missed_tokens,
            cache_write_tokens=record.cache_write_tokens - written,
            cache_write_1h_tokens=max(0, record.cache_write_1h_tokens - written),
        )
        return max(0.0, price.cost(record) - price.cost(hit))

    def price_for(self, record: AccessRecord) -> Price | None:
        """Return the price of the model and tier of `record`, or None if it is not known."""
        return self.price(record.model, record.timestamp, record.service_tier)

    def price(self, model: str, timestamp: float, tier: str = "") -> Price | None:
        """Return the price of `model` on the day of `timestamp`, or None if it is not known.

        It is the standard price where that of `tier` is not known.
        """
        key = (model, int(timestamp // DAY_SECONDS), tier)
        if key not in self._known:
            if len(self._known) >= KNOWN_PRICES:
                self._known.clear()
            self._known[key] = self._find(model, datetime.fromtimestamp(timestamp, UTC), tier)
        return self._known[key]

    def fill_in(self, record: AccessRecord) -> None:
        """Put the cost into a record, and mark a record whose tier is priced as standard. The
        program's own sum stands in where no price is known.
        """
        if record.cost_usd is None:
            cost = self.cost(record)
            record.cost_usd = record.cost_sdk_usd if cost is None else cost
            price = None if cost is None else self.price_for(record)
            record.priced_as_standard = price is not None and price.tier != record.service_tier

    def keep(self, providers: Any, today: date) -> int:
        """Store a fetched list and use the list; return the number of its models.

        Raises ValueError for another document, OSError where the list cannot be stored, and changes
        no price then.
        """
        fetched = read_list(providers)
        ours = [each for each in providers if each["id"] in VENDORS]
        # The list in use changes last, when it is on disk.
        replace_private(self._path, orjson.dumps({"as_of": str(today), "providers": ours}))
        self._use(fetched, today)
        return sum(len(provider.models) for provider in fetched.providers)

    def _use(self, fetched: genai_prices.data_snapshot.DataSnapshot, as_of: date) -> None:
        self._fetched = fetched
        self.as_of = as_of
        self._known.clear()

    def _find(self, model: str, at: datetime, tier: str) -> Price | None:
        """Return the price in the fetched list, else in the library's own, else in OWN_PRICES."""
        bare = SUFFIX.sub("", model)
        if self._fetched is not None:
            for name in (model, bare):
                if (found := find_in(self._fetched, name, at, tier)) is not None:
                    return price_of(*found)
        shipped = genai_prices.data_snapshot.get_snapshot()
        for name in (model, bare):
            if (found := find_in(shipped, name, at, tier)) is not None:
                return price_of(*found)
        own = OWN_PRICES.get(bare)
        return halved(own) if own and tier == BATCH else own


def read_list(providers: Any) -> genai_prices.data_snapshot.DataSnapshot:
    """Return the providers of VENDORS in a list of genai-prices. Raises ValueError for another
    document.
    """
    ours = [
        each
        for each in (providers if isinstance(providers, list) else ())
        if isinstance(each, dict) and each.get("id") in VENDORS
    ]
    if not any(each.get("models") for each in ours):
        raise ValueError("it is no list of genai-prices with models of Anthropic or OpenAI")
    try:
        read = genai_prices.types._providers_from_raw(ours)
    except (AssertionError, AttributeError, LookupError, StopIteration, TypeError) as error:
        raise ValueError(f"it is not in the form of genai-prices: {error}") from error
    return genai_prices.data_snapshot.DataSnapshot(read, from_auto_update=True)


def halved(price: Price) -> Price:
    """Return the batch price for a standard price of ours."""
    long = tuple((bound, rates.times(BATCH_FACTOR)) for bound, rates in price.long)
    return Price(price.rates.times(BATCH_FACTOR), long, BATCH)


def find_in(
    snapshot: genai_prices.data_snapshot.DataSnapshot, model: str, at: datetime, tier: str = ""
) -> tuple[genai_prices.types.ModelPrice, str] | None:
    """Return the library's price of `model` at a time, with the tier that the price is of, or None
    if no vendor has such a model.
    """
    for vendor in VENDORS:
        try:
            # Not by the snapshot itself: it would remember every name that a client invents.
            found = snapshot.find_provider(None, vendor, None).find_model(model)
            if found is not None:
                return prices_in_tier(found, at, tier)
        except (LookupError, re.error):
            # A fetched list without this vendor, with a model without prices, or with a pattern
            # that is none.
            continue
    return None


def prices_in_tier(
    model: genai_prices.types.ModelInfo, at: datetime, tier: str
) -> tuple[genai_prices.types.ModelPrice, str]:
    """Return the library's price of a model in `tier`, and `tier`; the standard price, and an empty
    text, if the library has none of `tier` at that time.
    """
    # Anthropic calls it a speed, OpenAI a service tier; the library has both words.
    asked = {"processing": tier} if tier == BATCH else {"speed": tier, "service_tier": tier}
    is_known = any(
        all(asked.get(name) == value for name, value in variant.when.items())
        and (variant.constraint is None or variant.constraint.active(at))
        for variant in model.price_variants or ()
    )
    if tier and is_known:
        return model.get_prices(at, asked), tier
    return model.get_prices(at), ""


def price_of(found: genai_prices.types.ModelPrice, tier: str = "") -> Price | None:
    """Return the library's price as ours.

    Return None for a model whose price depends on kinds of tokens that records do not count, such
    as those of sound.
    """
    given = {
        name: value
        for name, value in vars(found).items()
        if value is not None and name.endswith(PER_TOKEN)
    }
    if given.keys() - set(KINDS.values()) or not {"input_mtok", "output_mtok"} <= given.keys():
        return None
    # A cache without a price of its own costs the price of input.
    given.setdefault("cache_read_mtok", given["input_mtok"])
    given.setdefault("cache_write_mtok", given["input_mtok"])
    given.setdefault("cache_write_1h_mtok", given["cache_write_mtok"])
    bounds = {
        tier.start
        for value in given.values()
        if isinstance(value, genai_prices.types.TieredPrices)
        for tier in value.tiers
    }
    if any(rate < 0 for rate in vars(found).values() if isinstance(rate, Decimal)):
        return None
    long = tuple((bound, rates_above(given, bound)) for bound in sorted(bounds, reverse=True))
    return Price(rates_above(given, 0), long, tier)


def rates_above(given: dict[str, Decimal | genai_prices.types.TieredPrices], prompt: int) -> Rates:
    """Return the rates of prompts of just more than `prompt` tokens."""
    return Rates(**{kind: float(rate_above(given[name], prompt)) for kind, name in KINDS.items()})


def rate_above(value: Decimal | genai_prices.types.TieredPrices, prompt: int) -> Decimal:
    """Return one rate of prompts of just more than `prompt` tokens."""
    if isinstance(value, Decimal):
        return value
    # The library sorts the tiers of a price by their start.
    reached = [tier.price for tier in value.tiers if tier.start <= prompt]
    return reached[-1] if reached else value.base
