"""The primary of several Redis servers, as their sentinels name it, and connections to it.

Invariant: a connection of this module leads to the server that was the primary when the connection
was opened. It is the newest answer of a majority of the sentinels, and the server itself has
confirmed it: a sentinel cut off from the others may still name the earlier primary.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from shared.settings.redis_address import SentinelAddress

ANSWER_SECONDS = 0.5  # for the answer of a sentinel; it keeps all of it in memory
OPENING_SECONDS = 3.0  # until a connection leads to a primary: two answers and a handshake
REPLICA_LAG_SECONDS = 2  # since a replica's last sign of life, which it gives each second
REPLICA_GONE_SECONDS = 4.0  # longer than the promotion of a replica takes to be known
# States of a failover in which no server has been told anything: the sentinels still vote.
BEFORE_THE_CHOICE = {b"none", b"wait_start"}
WORDS_FOR_DOWN = ("s_down", "o_down", "disconnected")


@dataclass(frozen=True, slots=True)
class SentinelAnswer:
    """The primary in the words of one sentinel: `epoch` grows with every failover, `replicas`
    counts the known replicas, `is_down` is True while the sentinel does not reach the primary, and
    `is_choosing` while it makes another server the primary.
    """

    host: str
    port: int
    epoch: int
    replicas: int
    is_down: bool
    is_choosing: bool


class Sentinels:
    """The sentinels of `address`."""

    def __init__(self, address: SentinelAddress) -> None:
        self._address = address
        self._majority = len(address.sentinels) // 2 + 1

    async def primary(self) -> tuple[str, int]:
        """Return host and port of the primary. Raises redis' ConnectionError while the sentinels
        know none.
        """
        return newest(await self._ask(self._majority))

    async def agreed_primary(self) -> tuple[str, int]:
        """Return host and port of the primary, once every sentinel was asked. Raises redis'
        ConnectionError also if most do not answer, or one of them is choosing another primary.
        """
        answers = await self.answers()
        if len(answers) < self._majority:
            raise RedisConnectionError(
                f"{len(answers)} of {len(self._address.sentinels)} sentinels answer"
            )
        if any(answer.is_choosing for answer in answers):
            raise RedisConnectionError("the sentinels choose another primary")
        return newest(answers)

    async def answers(self) -> list[SentinelAnswer]:
        """Return the answer of every sentinel that gives one within ANSWER_SECONDS."""
        return await self._ask(len(self._address.sentinels))

    async def _ask(self, enough: int) -> list[SentinelAnswer]:
        """Ask all sentinels at once; return the first `enough` answers, or fewer."""
        asking = [asyncio.create_task(self._ask_one(*each)) for each in self._address.sentinels]
        answers = []
        try:
            for asked in asyncio.as_completed(asking):
                if (answer := await asked) is not None:
                    answers.append(answer)
                if len(answers) == enough:
                    break
        finally:
            for each in asking:
                each.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        return answers

    async def _ask_one(self, host: str, port: int) -> SentinelAnswer | None:
        connection = Connection(
            host=host,
            port=port,
            username=self._address.sentinel_user,
            password=self._address.sentinel_password,
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("SENTINEL", "MASTER", self._address.service)
                return read_sentinel_answer(await connection.read_response())
        except (RedisError, OSError):
            return None
        finally:
            # Without waiting: the question may have been cancelled, and would be again.
            await connection.disconnect(nowait=True)


def read_sentinel_answer(state: list[bytes]) -> SentinelAnswer:
    """Return the answer to SENTINEL MASTER, a list of names and values in turn."""
    values = dict(zip(state[::2], state[1::2], strict=True))
    flags = values[b"flags"].decode()
    return SentinelAnswer(
        values[b"ip"].decode(),
        int(values[b"port"]),
        int(values[b"config-epoch"]),
        int(values[b"num-slaves"]),
        any(word in flags for word in WORDS_FOR_DOWN),
        values.get(b"failover-state", b"none") not in BEFORE_THE_CHOICE,
    )


def newest(answers: Sequence[SentinelAnswer]) -> tuple[str, int]:
    """Return host and port in the answer after the latest failover. Raises redis' ConnectionError
    without one, or if that primary is down.
    """
    if not answers:
        raise RedisConnectionError("no sentinel names a primary")
    # A sentinel that a failover has passed by still names the earlier primary.
    latest = max(answers, key=lambda answer: (answer.epoch, not answer.is_down))
    if latest.is_down:
        raise RedisConnectionError("the primary is down; the sentinels choose another")
    return latest.host, latest.port


class PrimaryConnection(Connection):
    """A connection of `pool` to the primary; opening it again asks the sentinels again."""

    def __init__(self, *, pool: PrimaryPool, **options: Any) -> None:
        super().__init__(**options)
        self._pool = pool

    async def connect(self) -> None:
        """Connect to the primary. Raises redis' ConnectionError or TimeoutError."""
        if self.is_connected:
            return
        async with asyncio.timeout(OPENING_SECONDS):
            self.host, self.port = await self._pool.find_primary()
            await super().connect()  # type: ignore[no-untyped-call]
            try:
                await self._check_role()
            except BaseException:
                # A connection that stays open would be used although nobody confirmed its server.
                await self.disconnect(nowait=True)
                raise

    async def _check_role(self) -> None:
        await self.send_command("ROLE")
        role, *_ = await self.read_response()
        if role != b"master":
            raise RedisConnectionError("the server named by the sentinels is a replica")


class PrimaryPool(BlockingConnectionPool):
    """Connections to the primary behind `address`, all of them to the same server: the first that
    finds another primary closes the others. `options` are those of the pool and its connections.
    """

    def __init__(self, address: SentinelAddress, **options: Any) -> None:
        super().__init__(
            connection_class=PrimaryConnection,
            pool=weakref.proxy(self),
            username=address.user,
            password=address.password,
            db=address.database,
            **options,
        )
        self._sentinels = Sentinels(address)
        self._primary: tuple[str, int] | None = None

    @property
    def primary(self) -> tuple[str, int] | None:
        """Return host and port of the server that the connections lead to."""
        return self._primary

    async def find_primary(self) -> tuple[str, int]:
        """Return host and port of the primary, and leave the earlier one. Raises redis'
        ConnectionError.
        """
        found = await self._sentinels.primary()
        if found != self._primary:
            self._primary = found
            with contextlib.suppress(RedisError, OSError):
                await self.disconnect()
        return found

    async def confirm_primary(self) -> None:
        """Raise redis' ConnectionError unless the sentinels agree on the server that the
        connections lead to.
        """
        if await self._sentinels.agreed_primary() != self._primary:
            raise RedisConnectionError("the sentinels have chosen another primary")


class ReplicaWatch:
    """Decides from what a primary says about its replicas if a replica must confirm writes.

    A replica that was there must confirm for REPLICA_GONE_SECONDS more: it may be gone because it
    becomes the primary, which the sentinels tell each other only afterwards.
    """

    def __init__(self) -> None:
        self.must_confirm = False
        self._primary: tuple[str, int] | None = None
        self._seen = 0.0

    def note(self, primary: tuple[str, int] | None, *, has_replica: bool, now: float) -> None:
        """Note a look at `primary` at the loop time `now`."""
        # A new primary has no replica yet: the other host is down.
        if primary != self._primary:
            self._primary = primary
            self.must_confirm = False
        if has_replica:
            self.must_confirm = True
            self._seen = now
        elif now - self._seen > REPLICA_GONE_SECONDS:
            self.must_confirm = False


def has_live_replica(replication: Any) -> bool:
    """Return True if a replica follows, by redis-py's form of INFO replication."""
    return isinstance(replication, dict) and any(
        isinstance(replica, dict)
        and replica.get("state") == "online"
        and int(replica.get("lag", REPLICA_LAG_SECONDS + 1)) <= REPLICA_LAG_SECONDS
        for name, replica in replication.items()
        if name.startswith("slave")
    )
