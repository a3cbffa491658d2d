"""The headers of a browser, as tables: who may come in, and who is another page."""

from __future__ import annotations

import pytest

from gateway.server.browser import check_page, host_name, is_own_origin, wants_page
from shared.runtime.errors import NotAllowed

NAVIGATION = {b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"document"}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"localhost", "localhost"),
        (b"LOCALHOST:8000", "localhost"),
        (b"127.0.0.1:1", "127.0.0.1"),
        (b"[::1]", "::1"),
        (b"[::1]:8000", "::1"),
        (b"box_1.lan.", "box_1.lan."),
    ],
)
def test_a_host_is_read_without_its_port(host: bytes, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"[::1].evil.com",
        b"localhost:evil.com",
        b"[localhost]",
        b"::1",
        b"localhost:",
        b"localhost:8000:8000",
        b" localhost",
        b"localhost/",
        b"user@localhost",
        b"localhost:123456",
        b"-localhost",
        b"local\xffhost",
        b"[::1",
    ],
)
def test_an_odd_spelling_of_a_host_has_no_name(host: bytes) -> None:
    assert host_name(host) == ""


def check(
    headers: dict[bytes, bytes],
    method: str = "POST",
    path: str = "/permissions",
    scheme: str = "http",
) -> None:
    check_page(method, path, {b"host": b"box.lan:8000"} | headers, scheme)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"origin": b"http://box.lan:8000"},
        {b"origin": b"http://BOX.lan:8000"},
        {b"sec-fetch-site": b"same-origin"},
        {b"sec-fetch-site": b"none"},
        {b"sec-fetch-site": b"same-origin", b"origin": b"http://box.lan:8000"},
        {b"sec-fetch-site": b"same-origin", b"origin": b"https://box.lan:8000"},
        {b"host": b"box.lan", b"origin": b"http://box.lan"},
        {b"host": b"box.lan:80", b"origin": b"http://box.lan"},
    ],
    ids=str,
)
def test_our_own_page_and_a_program_are_admitted(headers: dict[bytes, bytes]) -> None:
    check(headers)


OTHERS: list[dict[bytes, bytes]] = [
    {b"origin": b"null"},
    {b"origin": b""},
    {b"origin": b"https://box.lan:8000"},
    {b"origin": b"http://box.lan"},
    {b"origin": b"http://box.lan:3000"},
    {b"origin": b"http://box.lan:8000.evil.example"},
    {b"origin": b"http://evil.example"},
    {b"origin": b"http://[broken"},
    {b"sec-fetch-site": b"cross-site"},
    {b"sec-fetch-site": b"same-site"},
    {b"sec-fetch-site": b"odd"},
    {b"sec-fetch-site": b"same-site", b"origin": b"http://box.lan:3000"},
    {b"sec-fetch-site": b"same-origin", b"origin": b"http://evil.example"},
    {b"sec-fetch-site": b"same-origin", b"origin": b"null"},
    {b"sec-fetch-site": b"cross-site", **NAVIGATION},
]


@pytest.mark.parametrize("headers", OTHERS, ids=str)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_page_is_refused(headers: dict[bytes, bytes], method: str) -> None:
    with pytest.raises(NotAllowed, match="other origins"):
        check(headers, method)


@pytest.mark.parametrize(
    "path", ["/", "/dashboard", "/permissions/ui", "/docs", "/signin", "/oauth/callback"]
)
@pytest.mark.parametrize("site", [b"cross-site", b"same-site"])
def test_a_link_of_another_page_may_lead_to_our_pages(path: str, site: bytes) -> None:
    check({b"sec-fetch-site": site, **NAVIGATION}, "GET", path)
    with pytest.raises(NotAllowed):
        check({b"sec-fetch-site": site, **NAVIGATION}, "POST", path)
    for change in ({b"sec-fetch-dest": b"iframe"}, {b"sec-fetch-mode": b"no-cors"}):
        with pytest.raises(NotAllowed):
            check({b"sec-fetch-site": site, **NAVIGATION, **change}, "GET", path)


def test_tls_before_a_trusted_proxy_counts_as_https() -> None:
    check({b"host": b"box.lan", b"origin": b"https://box.lan"}, scheme="https")
    check({b"host": b"box.lan:443", b"origin": b"https://box.lan"}, scheme="https")
    with pytest.raises(NotAllowed, match="SERVER__TRUSTED_PROXIES"):
        check({b"host": b"box.lan", b"origin": b"http://box.lan"}, scheme="https")


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({}, False),
        ({b"sec-fetch-site": b"none"}, False),
        ({b"sec-fetch-site": b"same-origin"}, True),
    ],
)
def test_a_program_is_no_page_of_ours(headers: dict[bytes, bytes], ours: bool) -> None:
    assert is_own_origin(headers) == ours


@pytest.mark.parametrize(
    ("method", "accept", "wanted"),
    [
        ("GET", b"text/html,*/*", True),
        ("GET", b"*/*", False),
        ("GET", b"", False),
        ("POST", b"text/html", False),
    ],
)
def test_a_browser_asks_for_html(method: str, accept: bytes, wanted: bool) -> None:
    assert wants_page(method, {b"accept": accept}) == wanted
