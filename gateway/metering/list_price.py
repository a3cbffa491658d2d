"""What a request costs by list price, for limits in dollars.

Invariant: no request that used tokens is free. A model without a known price costs what the dearest
known models cost, or a limit could be passed by a new model.
"""

from __future__ import annotations

from pathlib import Path

from shared.accounts.prices import Prices, Rates
from shared.bus.channels import AccessRecord
from shared.runtime.files import identity_or_none

# Claude Opus 4, the dearest model in the list of 2026-11-10.
DEAREST = Rates(input=15, output=75, cache_read=1.5, cache_write=18.75, cache_write_1h=30)


class ListPrice:
    """The list price of requests. A newer list at `path`, fetched by the owner, holds at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._prices: Prices | None = None

    def of(self, record: AccessRecord) -> float:
        """Return the list price of the tokens of `record` in dollars, regardless of the payer."""
        seen = identity_or_none(self._path)
        if self._prices is None or seen != self._seen:
            self._seen = seen
            self._prices = Prices.load(self._path)
        price = self._prices.price_for(record)
        return DEAREST.cost(record) if price is None else price.cost(record)
