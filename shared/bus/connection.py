"""The connection of the bus to Redis: a client without hidden retries, and a time limit on every
answer.

No option is left to the library's defaults: they differ between versions, and some versions retry
in silence.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared.runtime.errors import BusUnavailable
from shared.settings.problems import ConfigurationError

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


def open_client(url: str) -> Redis:
    """Return a Redis client for `url`. Raises ConfigurationError for an invalid address.

    The client has no socket timeout: redis-py 5 implements that timeout with `asyncio.wait_for`,
    which before Python 3.12 may swallow a cancellation (gh-86296). `with_deadline` limits each
    command instead.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=COMMAND_SECONDS,
            socket_timeout=None,
            socket_connect_timeout=CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise ConfigurationError(f"REDIS__URL: {error}") from None
    return Redis(connection_pool=pool)


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
