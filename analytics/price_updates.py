"""Newer price lists, fetched from the owner's PRICES_URL: on demand, or on schedule if the owner
wants that. No other code of the product fetches prices.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import httpx

from shared.accounts.prices import Prices
from shared.runtime.errors import CCProxyError
from shared.runtime.log import get_log

FETCH_SECONDS = 30.0


class PricesUnavailable(CCProxyError):
    """The price list could not be fetched."""

    status = 502
    kind = "upstream"


@dataclass(frozen=True, slots=True)
class FetchedList:
    """A list that is in use now."""

    as_of: date
    models: int
    source: str


class PriceUpdates:
    """The way to newer prices: `prices` are in use, `url` has the published list."""

    def __init__(self, prices: Prices, url: str) -> None:
        self.prices = prices
        self._url = url

    async def refresh(self) -> FetchedList:
        """Fetch the published list, store the list and use the list. Raises PricesUnavailable and
        changes no price then.
        """
        today = datetime.now(UTC).date()
        try:
            async with httpx.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=True) as client:
                answer = await client.get(self._url)
                models = self.prices.keep(answer.raise_for_status().json(), today)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise PricesUnavailable(
                f"The price list at {self._url} could not be fetched: "
                f"{str(error) or type(error).__name__}"
            ) from error
        get_log().info("price_list_refreshed", models=models, as_of=str(today))
        return FetchedList(today, models, self._url)
