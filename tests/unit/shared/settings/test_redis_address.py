from __future__ import annotations

import pytest

from shared.settings.redis_address import (
    SentinelAddress,
    database_of,
    is_sentinel_url,
    read_sentinel_url,
    tls_address,
)
from shared.settings.tree import ConfigurationError, load_settings


def test_an_address_of_sentinels_names_them_the_service_and_the_servers_credentials() -> None:
    url = "redis+sentinel://ann:p%40ss@one:26379,[::1]:26380,three/bus/2?sentinel_password=other"
    assert is_sentinel_url(url)
    assert read_sentinel_url(url) == SentinelAddress(
        (("one", 26379), ("::1", 26380), ("three", 26379)),
        "bus",
        2,
        "ann",
        "p@ss",
        None,
        "other",
    )


def test_an_address_of_sentinels_needs_no_credentials_and_no_database() -> None:
    assert read_sentinel_url("redis+sentinel://one,two/bus") == SentinelAddress(
        (("one", 26379), ("two", 26379)), "bus"
    )


def test_an_address_shows_no_password() -> None:
    shown = repr(read_sentinel_url("redis+sentinel://:s3cret@one/bus?sentinel_password=s3cret"))
    assert "s3cret" not in shown


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+sentinel://:s3cret@one:26379", "the name of the service is missing"),
        ("redis+sentinel://:s3cret@one,/bus", "a sentinel must be host:port"),
        ("redis+sentinel://:s3cret@one:70000/bus", "a sentinel must be host:port"),
        ("redis+sentinel://:s3cret@one:0/bus", "a sentinel must be host:port"),
        ("redis+sentinel://:s3cret@one/bus/first", "the database must be a number"),
        ("redis+sentinel://:s3cret@one/bus?tls=1", "'tls' is not known"),
        ("rediss+sentinel://:s3cret@one/bus", "expected an address as redis://"),
        ("127.0.0.1:6379", "expected an address as redis://"),
    ],
)
def test_an_invalid_address_is_refused_by_name_and_without_its_password(
    url: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        load_settings(redis={"url": url})
    assert "redis.url" in str(caught.value) or "REDIS__URL" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_an_address_with_tls_is_shown_without_login_and_parameters() -> None:
    url = "rediss://me:s3cret@[::1]:6380/2?ssl_cert_reqs=none"
    assert tls_address(url) == "rediss://[::1]:6380/2"
    assert tls_address("rediss://one") == "rediss://one:6379/0"
    for wrong in ("redis://one", "rediss://", "rediss://one/first", "rediss://one:70000"):
        with pytest.raises(ValueError):  # noqa: PT011 - also the one of a wrong port
            tls_address(wrong)


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("redis://one", 0),
        ("rediss://:s3cret@one:6380/3?ssl_cert_reqs=none", 3),
        ("unix:///run/redis.sock?db=2", 2),
        ("unix:///run/redis.sock", 0),
    ],
)
def test_an_address_names_its_database(url: str, database: int) -> None:
    assert database_of(url) == database
