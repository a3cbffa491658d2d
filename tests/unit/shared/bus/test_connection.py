from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.bus.connection import open_connections, unavailable


@pytest.mark.parametrize(
    ("why", "words"),
    [
        (TimeoutError(), "(no answer in time)"),
        (RedisConnectionError("refused"), "(refused)"),
        (RedisConnectionError(), "(ConnectionError)"),
        ("it was never reached", "(it was never reached)"),
    ],
)
def test_the_reason_of_an_unreachable_redis_always_has_words(why: object, words: str) -> None:
    assert unavailable(why).message.endswith(words)


@pytest.mark.parametrize(
    ("url", "checks"),
    [
        ("rediss://home.server", True),
        ("rediss://home.server?ssl_check_hostname=false", False),
        ("rediss://home.server?ssl_cert_reqs=none", False),
    ],
)
def test_a_certificate_must_be_of_the_host_unless_the_address_says_otherwise(
    url: str, checks: bool
) -> None:
    assert open_connections(url).connection_kwargs["ssl_check_hostname"] is checks


def test_an_address_without_tls_gets_no_option_of_tls() -> None:
    assert not [name for name in open_connections("redis://x").connection_kwargs if "ssl" in name]
