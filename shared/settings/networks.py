"""IP networks as a setting names them."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator


def check_network(given: str) -> str:
    """Return `given`. Raises ValueError unless `given` is an IP address or network."""
    try:
        ipaddress.ip_network(given, strict=False)
    except ValueError as error:
        raise ValueError(
            f"{given!r} is no IP address or network, as 10.0.0.1 or 10.0.0.0/8"
        ) from error
    return given


def is_loopback(host: str) -> bool:
    """Return True if an address to bind is reachable from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


Network = Annotated[str, AfterValidator(check_network)]
