"""The connections to Redis: a client without hidden retries, and a time limit on every answer.

Every connection of the product is opened here, to one server or to the primary that sentinels
name. No option is left to the library's defaults: they differ between versions, and some versions
retry in silence.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared.bus.sentinel import PrimaryPool
from shared.runtime.errors import BusUnavailable
from shared.settings.problems import ConfigurationError
from shared.settings.redis_address import TLS_PREFIX, is_sentinel_url, read_sentinel_url

UNREACHABLE = (RedisError, OSError)  # OSError covers TimeoutError
CONNECT_SECONDS = 2.0
CONNECTIONS = 40  # the inbox and each channel served hold one each; the rest is for short commands
RECONNECT_SECONDS = (0.02, 1.0)  # first and longest pause between attempts
COMMAND_SECONDS = 5.0  # for one pipeline: tens of megabytes, or a disk that makes the server wait

# Before Python 3.11.3 a time limit that runs out in a cancelled task cancels it again (gh-102780),
# and redis-py sets one for every command: what a task does at its end would fail. In a task of its
# own a command knows nothing of that.
OLD_TIMEOUTS = sys.version_info < (3, 11, 3)


def milliseconds(seconds: float) -> int:
    """Return `seconds` in the unit of Redis' commands."""
    return int(seconds * 1000)


def open_connections(
    url: str, *, answer_seconds: float | None = None, ca: str | None = None
) -> BlockingConnectionPool:
    """Return a pool of connections to the Redis at `url`. With TLS the authority `ca` (PEM) is
    trusted beside those of the system. Raises ConfigurationError for an invalid address.

    Without `answer_seconds` the connections have no socket timeout: redis-py 5 implements that
    timeout with `asyncio.wait_for`, which before Python 3.12 may swallow a cancellation (gh-86296).
    `with_deadline` limits each command instead. `answer_seconds` is for a library that sends
    commands of its own, none of which blocks.
    """
    options: dict[str, Any] = {
        "max_connections": CONNECTIONS,
        "timeout": COMMAND_SECONDS,
        "socket_timeout": answer_seconds,
        "socket_connect_timeout": CONNECT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    if url.startswith(TLS_PREFIX):
        options |= tls_options(url, ca)
    try:
        if is_sentinel_url(url):
            return PrimaryPool(read_sentinel_url(url), **options)
        return BlockingConnectionPool.from_url(url, **options)
    except ValueError as error:
        raise ConfigurationError(f"REDIS__URL: {error}") from None


def tls_options(url: str, ca: str | None) -> dict[str, Any]:
    """Return the options of connections with TLS: the certificate must be of the host in `url`,
    unless a parameter of the address switches the check of certificates off.
    """
    # redis-py 5 checks no host name by itself: any certificate of a trusted authority would do.
    asked = parse_qs(urlsplit(url).query).get("ssl_cert_reqs", ["required"])
    options: dict[str, Any] = {"ssl_check_hostname": asked[-1] == "required"}
    return options | ({"ssl_ca_data": ca} if ca else {})


def open_client(url: str, *, ca: str | None = None) -> Redis:
    """Return a Redis client for `url`, which closes its connections when it is closed. `ca` and
    errors as in `open_connections`.
    """
    return Redis.from_pool(open_connections(url, ca=ca))


async def with_deadline(answer: Awaitable[Any], *, after: float = 0) -> Any:
    """Return Redis' answer. Raises TimeoutError if the answer is not there COMMAND_SECONDS after
    `after`, the seconds for which the command itself may block.
    """
    # See OLD_TIMEOUTS: in a task of its own the command knows nothing of an earlier cancellation of
    # this task.
    if OLD_TIMEOUTS:
        answer = asyncio.ensure_future(answer)
    async with asyncio.timeout(after + COMMAND_SECONDS):
        return await answer


def unavailable(why: object) -> BusUnavailable:
    """Return the error with `why` in words; an expired time limit becomes `no answer in time`."""
    words = str(why) or (
        "no answer in time" if isinstance(why, TimeoutError) else type(why).__name__
    )
    return BusUnavailable(f"{BusUnavailable().message} ({words})")
