"""How the bus reaches Redis: a client without a will of its own, and an answer in bounded time or none.

Nothing is left to the library's defaults: they differ between versions, and some retry in silence.
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

from shared.complaints import ConfigurationError
from shared.errors import BusUnavailable

UNREACHABLE = (RedisError, OSError)  # OSError covers TimeoutError
CONNECT_SECONDS = 2.0
CONNECTIONS = 40  # the inbox and each channel served hold one each; the rest is for short commands
COMMAND_SECONDS = 5.0  # for one pipeline: tens of megabytes, or a disk that makes the server wait

# Before Python 3.11.3 a time limit that runs out in a cancelled task cancels it again (gh-102780), and redis-py sets
# one for every command: what a task does at its end would fail. In a task of its own a command knows nothing of that.
OLD_TIMEOUTS = sys.version_info < (3, 11, 3)


def open_client(url: str) -> Redis:
    """No socket timeout: redis-py 5 keeps it by `asyncio.wait_for`, which before Python 3.12 may swallow a cancellation
    (gh-86296) and leave a task running that was told to stop. `soon` takes its place."""
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


async def soon(answer: Awaitable[Any], *, after: float = 0) -> Any:
    """Redis' answer. Raises TimeoutError when it is not there COMMAND_SECONDS after the `after` it may block."""
    if OLD_TIMEOUTS:
        answer = asyncio.ensure_future(answer)
    async with asyncio.timeout(after + COMMAND_SECONDS):
        return await answer


def unavailable(why: object) -> BusUnavailable:
    return BusUnavailable(f"{BusUnavailable().message} ({why})")
