"""The address and the scheme a client really used, when a reverse proxy stands between.

`X-Forwarded-For` and `X-Forwarded-Proto` are believed only from an address in
SERVER__TRUSTED_PROXIES: any other client could use the headers to claim any address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """The addresses and networks with trusted `X-Forwarded-*` headers."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    def trusts(self, address: str) -> bool:
        """Return True if `address` belongs to a trusted proxy."""
        parsed = parse_address(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client_address(self, peer: str, headers: dict[bytes, bytes]) -> str:
        """Return the client's address: `peer`, or the last forwarded address that is no trusted
        proxy.
        """
        if (forwarded := headers.get(b"x-forwarded-for")) is None or not self.trusts(peer):
            return peer
        client = peer
        # Every proxy appends the address it saw. From the right, entries are true as long as
        # trusted proxies wrote them.
        for part in reversed(forwarded.decode("latin-1").split(",")):
            if parse_address(part.strip()) is None:
                break  # not an address: earlier entries may be invented too
            client = part.strip()
            if not self.trusts(client):
                break
        return client

    def scheme(self, peer: str, headers: dict[bytes, bytes], scheme: str) -> str:
        """Return the scheme the client used: the connection's own `scheme`, or the scheme that a
        trusted proxy names.
        """
        if (forwarded := headers.get(b"x-forwarded-proto")) is None or not self.trusts(peer):
            return scheme
        named = forwarded.rpartition(b",")[2].strip().lower()
        return named.decode() if named in {b"http", b"https"} else scheme


@lru_cache(maxsize=1024)
def parse_address(text: str) -> Address | None:
    """Return `text` as an IP address, an IPv4 address in IPv6 form as IPv4; None for any other
    text.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=1024)
def is_loopback_address(text: str) -> bool:
    """Return True if `text` is a loopback address."""
    address = parse_address(text)
    return address is not None and address.is_loopback


@lru_cache(maxsize=1024)
def counted_address(text: str) -> str:
    """Return the key for counting a client: an IPv4 address, or the /64 network of an IPv6 address,
    which one host can own.
    """
    address = parse_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address or text)
