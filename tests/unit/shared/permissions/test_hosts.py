"""A host is read one way by everybody, or not at all."""

from __future__ import annotations

import pytest

from shared.permissions.hosts import host_fits, host_of, may_be_same_host, plain_host


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com", "example.com"),
        ("HTTP://EXAMPLE.com:8080/x", "example.com"),
        ("https://example.com.", "example.com"),
        ("https://example.com?x=@evil.com", "example.com"),
        ("https://example.com#@evil.com", "example.com"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ("http://127.0.0.1:1/", "127.0.0.1"),
        ("http://[::1]/", "::1"),
        ("http://[0:0::1]/", "::1"),
    ],
)
def test_a_plain_address_has_one_host(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    "url",
    [
        "https://ｅvil.com",
        "https://evil。com",
        "https://%65vil.com",
        "https://ev\u00adil.com",
        "https://evil.com..",
        "https://.evil.com",
        "https://evil..com",
        "https://user@evil.com",
        "https://good.com@evil.com",
        "https://good.com\\@evil.com",
        "https://good.com\t.evil.com",
        "https://evil.com\n",
        " https://evil.com",
        "https:evil.com",
        "https:/evil.com",
        "https:///evil.com",
        "//evil.com",
        "evil.com",
        "file://evil.com/x",
        "https://",
        "https://evil.com:port",
        "https://evil.com:",
        "https://-evil.com",
        "https://e_vil.com",
        "http://127.1",
        "http://2130706433",
        "http://0x7f000001",
        "http://0x7f.1",
        "http://0177.0.0.1",
        "http://127.0.0.1.5",
        "http://example.0x",
        "http://example.1",
        "http://[::ffff:127.0.0.1]",
        "http://[::1",
        "http://[fe80::1%25eth0]",
        "https://" + "a" * 64 + ".com",
        7,
        None,
    ],
)
def test_an_address_that_can_be_read_in_two_ways_has_none(url: object) -> None:
    assert host_of(url) is None


def test_a_star_covers_the_names_below() -> None:
    assert host_fits("a.example.com", "*.example.com")
    assert not host_fits("example.com", "*.example.com")
    assert not host_fits("badexample.com", "*.example.com")
    assert plain_host("*.example.com") is None


def test_loopback_has_many_names() -> None:
    assert may_be_same_host("localhost", "127.0.0.1")
    assert may_be_same_host("::1", "*.localhost")
    assert not may_be_same_host("example.com", "127.0.0.1")
