"""What a proxy route is made of: a client's format, a provider, and the provider's address for it."""

from __future__ import annotations

from collections.abc import Callable

from gateway.exchange import Exchange
from gateway.problems import Dialect
from gateway.providers import Provider

MakeExchange = Callable[[Dialect, Provider, str], Exchange]
