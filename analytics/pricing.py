"""The cost of tokens by the public price list, whoever pays. A model without a price is unknown,
never free.

The list is data with its date: the one shipped, or a newer one fetched on demand and kept beside
the database.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.bus.channels import AccessRecord
from shared.runtime.errors import CCProxyError
from shared.runtime.log import get_log

MILLION = 1_000_000
# dated snapshots cost what their line costs
SUFFIX = re.compile(r"(-\d{8}|-\d{4}-\d{2}-\d{2}|-latest|\[1m\])+$")
# The fields of the published list, and what they are called here; all are dollars per token there.
FETCHED = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
}
FETCHED_LONG = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")
FETCHED_PROVIDERS = ("anthropic", "openai")


class PricesUnavailable(CCProxyError):
    """The price list could not be fetched."""

    status = 502
    kind = "upstream"


class Rates(BaseModel):
    """Dollars per million tokens. A cache without a price of its own costs the price of input."""

    model_config = ConfigDict(frozen=True)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_read: float = Field(ge=0)
    cache_write: float = Field(ge=0)
    cache_write_1h: float = Field(ge=0)

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: dict[str, Any]) -> dict[str, Any]:
        known = {name: value for name, value in given.items() if value is not None}
        known.setdefault("cache_read", known.get("input"))
        known.setdefault("cache_write", known.get("input"))
        known.setdefault("cache_write_1h", known["cache_write"])
        return known

    def cost(self, record: AccessRecord) -> float:
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


class LongPrompt(BaseModel):
    """The rates of prompts over `above` tokens; None if the higher price is unknown."""

    above: int
    rates: Rates | None = None

    @model_validator(mode="before")
    @classmethod
    def _split(cls, given: dict[str, Any]) -> dict[str, Any]:
        rates = {name: value for name, value in given.items() if name not in {"above", "rates"}}
        return {"above": given["above"], "rates": rates or given.get("rates")}


class Price(Rates):
    long: LongPrompt | None = None

    def cost_of(self, record: AccessRecord) -> float | None:
        prompt = record.tokens_input + record.cache_read_tokens + record.cache_write_tokens
        if self.long is None or prompt <= self.long.above:
            return self.cost(record)
        return self.long.rates.cost(record) if self.long.rates else None


class PriceList(BaseModel):
    as_of: date
    source: str
    models: dict[str, Price]

    def cost(self, record: AccessRecord) -> float | None:
        """Return the dollars for a request, or None without a known price."""
        if not (
            record.tokens_input
            or record.tokens_output
            or record.cache_read_tokens
            or record.cache_write_tokens
        ):
            return None
        price = self.models.get(record.model) or self.models.get(SUFFIX.sub("", record.model))
        return price.cost_of(record) if price else None


def shipped() -> PriceList:
    return PriceList.model_validate_json(files("analytics").joinpath("prices.json").read_bytes())


class Prices:
    """The newest price list. `path` keeps a fetched list, `url` is the source of a fetch."""

    def __init__(self, path: Path, url: str) -> None:
        self._path = path
        self._url = url
        self.list = shipped()

    @classmethod
    def load(cls, path: Path, url: str) -> Self:
        prices = cls(path, url)
        try:
            kept = PriceList.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return prices
        except (OSError, ValidationError) as error:
            get_log().warning("price_list_unreadable", path=str(path), reason=str(error))
            return prices
        if kept.as_of > prices.list.as_of:
            prices.list = kept
        return prices

    def fill_in(self, record: AccessRecord) -> None:
        """Put the cost into a record; what a program worked out itself stands in where the list has
        no price.
        """
        if record.cost_usd is None:
            cost = self.list.cost(record)
            record.cost_usd = record.cost_sdk_usd if cost is None else cost

    async def refresh(self) -> PriceList:
        """Fetch the list, store the list and use the list. Raises PricesUnavailable and changes no
        price then.
        """
        try:
            answer = await import_module("analytics.price_download").download(self._url)
            fetched = read_published(answer, self._url, datetime.now(UTC).date())
            # What the published list leaves out is still known from ours.
            fetched.models = self.list.models | fetched.models
            # Replaced by rename, so that a restart never reads half a list; the list in use changes
            # last, when it is on disk.
            unfinished = self._path.with_suffix(".new")
            unfinished.write_text(fetched.model_dump_json(exclude_none=True))
            os.replace(unfinished, self._path)
        except (OSError, ValueError, TypeError) as error:
            raise PricesUnavailable(
                f"The price list at {self._url} could not be fetched: {error}"
            ) from error
        self.list = fetched
        get_log().info("price_list_refreshed", models=len(fetched.models), as_of=str(fetched.as_of))
        return fetched


def read_published(document: Any, source: str, today: date) -> PriceList:
    """The published list (LiteLLM's shape) as ours. Raises ValueError when no model of ours is in
    it.
    """
    models = {}
    for name, facts in document.items() if isinstance(document, dict) else ():
        if (
            isinstance(facts, dict)
            and facts.get("litellm_provider") in FETCHED_PROVIDERS
            and FETCHED["input"] in facts
        ):
            # A name may carry its provider's name before a slash, which requests do not have.
            models[name.rpartition("/")[2]] = Price.model_validate(
                _rates(facts, "") | {"long": _long(facts)}
            )
    if not models:
        raise ValueError("it names no model of Anthropic or OpenAI")
    return PriceList(as_of=today, source=source, models=models)


def _rates(facts: dict[str, Any], suffix: str) -> dict[str, float]:
    given = {ours: facts.get(theirs + suffix) for ours, theirs in FETCHED.items()}
    return {ours: float(value) * MILLION for ours, value in given.items() if value is not None}


def _long(facts: dict[str, Any]) -> dict[str, Any] | None:
    for field in facts:
        if match := FETCHED_LONG.fullmatch(field):
            rates = _rates(facts, f"_above_{match[1]}k_tokens")
            return {"above": int(match[1]) * 1000, **(rates if "output" in rates else {})}
    return None
