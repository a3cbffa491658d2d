"""Forwarded headers are believed from a trusted proxy and from nobody else."""

from __future__ import annotations

import pytest

from gateway.server.forwarded import TrustedProxies, counted_address, is_loopback_address

PROXIES = TrustedProxies(["127.0.0.1", "::1", "10.0.0.0/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "203.0.113.9, 10.1.1.1", "203.0.113.9"),
        ("10.2.3.4", "10.1.1.1", "10.1.1.1"),
        ("127.0.0.1", "203.0.113.9, unknown", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_a_client_address_is_the_last_hop_before_the_trusted_proxies(
    peer: str, forwarded: str, client: str
) -> None:
    assert PROXIES.client_address(peer, {b"x-forwarded-for": forwarded.encode()}) == client


@pytest.mark.parametrize(
    ("peer", "forwarded", "scheme"),
    [
        ("127.0.0.1", b"https", "https"),
        ("127.0.0.1", b"http, HTTPS", "https"),
        ("127.0.0.1", b"javascript", "http"),
        ("203.0.113.7", b"https", "http"),
    ],
)
def test_a_scheme_is_believed_from_a_trusted_proxy(
    peer: str, forwarded: bytes, scheme: str
) -> None:
    assert PROXIES.scheme(peer, {b"x-forwarded-proto": forwarded}, "http") == scheme


def test_a_connection_without_forwarded_headers_speaks_for_itself() -> None:
    assert PROXIES.client_address("127.0.0.1", {}) == "127.0.0.1"
    assert PROXIES.scheme("127.0.0.1", {}, "http") == "http"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_ipv6_clients_are_counted_by_their_network(address: str, counted: str) -> None:
    assert counted_address(address) == counted


@pytest.mark.parametrize(
    ("address", "own"), [("127.0.0.2", True), ("::1", True), ("10.0.0.1", False), ("x", False)]
)
def test_loopback_addresses_are_known(address: str, own: bool) -> None:
    assert is_loopback_address(address) == own
