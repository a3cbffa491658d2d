"""What is behind a Redis address, asked once and without the retries of a bus: the version of the
server, and what its sentinels say.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from redis.exceptions import RedisError

from shared.bus.connection import open_client
from shared.bus.sentinel import Sentinels
from shared.runtime.errors import BusUnavailable
from shared.settings.redis_address import read_sentinel_url

ANSWER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class SentinelReport:
    """The numbers of sentinels in the address and of those that answer, and the smallest number of
    replicas that one of them knows.
    """

    listed: int
    answering: int
    replicas: int

    @property
    def is_majority(self) -> bool:
        """Return True if the answering sentinels can choose another primary."""
        return self.answering > self.listed // 2


async def server_version(url: str) -> tuple[int, ...]:
    """Return the version of the Redis at `url`, as `(7, 2, 4)`.

    Raises BusUnavailable with the reason when there is no answer, or no answer to this password.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS), open_client(url) as server:
            said = await server.info("server")
    except (RedisError, OSError, ValueError) as error:
        raise BusUnavailable(
            f"Redis does not answer: {str(error) or type(error).__name__}"
        ) from error
    return tuple(int(part) for part in str(said["redis_version"]).split(".")[:3])


async def sentinel_report(url: str) -> SentinelReport:
    """Return what the sentinels of a valid `redis+sentinel://` address answer."""
    address = read_sentinel_url(url)
    answers = await Sentinels(address).answers()
    replicas = min((answer.replicas for answer in answers), default=0)
    return SentinelReport(len(address.sentinels), len(answers), replicas)
