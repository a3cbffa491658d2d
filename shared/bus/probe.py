"""The version of the server behind a Redis address, asked once and without the retries of a bus."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.runtime.errors import BusUnavailable

ANSWER_SECONDS = 3.0


async def server_version(url: str) -> tuple[int, ...]:
    """Return the version of the Redis at `url`, as `(7, 2, 4)`.

    Raises BusUnavailable with the reason when there is no answer, or no answer to this password.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS), Redis.from_url(url) as server:
            said = await server.info("server")
    except (RedisError, OSError, ValueError) as error:
        raise BusUnavailable(
            f"Redis does not answer: {str(error) or type(error).__name__}"
        ) from error
    return tuple(int(part) for part in str(said["redis_version"]).split(".")[:3])
