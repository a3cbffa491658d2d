from __future__ import annotations

import pytest

from shared.settings.addresses import (
    check_provider_url,
    host_of_address,
    is_readable_on_the_way,
    without_user_info,
)


@pytest.mark.parametrize(
    "url",
    ["https://api.anthropic.com", "http://[::1]:8000/x", "https://Host.example:1/a/b?".rstrip("?")],
)
def test_a_provider_s_address_stays_as_it_was_written(url: str) -> None:
    assert check_provider_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "", "api.anthropic.com", "ftp://x", "https://", "https:///x", "https://u@x", "https://u:p@x", "https://x?q",
        "https://x#f", "https://x:99999", "https://x:y", "http://[::1", "https://x y", "https://x\\@y", "https://x\ny",
        "javascript:alert(1)", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match="address") as refused:
        check_provider_url(url)
    assert "u:p" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "readable"),
    [ ("https://anywhere.example", False), ("http://127.0.0.1:1", False), ("http://localhost", False), ("http://[::1]:1", False), ("http://named.lan", False), ("http://NAMED.lan:1/x", False), ("http://other.lan", True), ("http://named.lan.evil.example", True), ("http://10.0.0.1", True), ],
)  # fmt: skip
def test_plain_http_is_for_loopback_and_named_hosts(url: str, readable: bool) -> None:
    assert is_readable_on_the_way(url, ["Named.lan"]) is readable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:pass@host:1/x", "http://****@host:1/x"),
        ("https://user@host", "https://****@host"),
        ("https://a:p@ss@host/x", "https://****@host/x"),
        ("https://host/@x", "https://host/@x"),
        ("user@host", "user@host"),
        ("two: http://a:b@c, http://d:e@f", "two: http://****@c, http://****@f"),
    ],
)
def test_user_name_and_password_of_an_address_are_masked(text: str, shown: str) -> None:
    assert without_user_info(text) == shown


def test_the_host_of_an_address_is_in_lower_case() -> None:
    assert host_of_address("https://API.example:1/x") == "api.example"
