from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.bus.sentinel import (
    REPLICA_GONE_SECONDS,
    ReplicaWatch,
    SentinelAnswer,
    has_live_replica,
    newest,
    read_sentinel_answer,
)

ONE = ("one", 6379)
TWO = ("two", 6379)


def answer(host: str, epoch: int, *, is_down: bool = False) -> SentinelAnswer:
    return SentinelAnswer(host, 6379, epoch, 1, is_down=is_down, is_choosing=False)


def test_the_primary_of_the_latest_failover_counts() -> None:
    assert newest([answer("one", 3), answer("two", 4), answer("one", 3)]) == TWO


def test_one_sentinel_that_reaches_the_primary_outweighs_one_that_does_not() -> None:
    assert newest([answer("one", 3, is_down=True), answer("one", 3)]) == ONE


def test_a_primary_that_is_down_is_none() -> None:
    with pytest.raises(RedisConnectionError, match="is down"):
        newest([answer("one", 4, is_down=True), answer("two", 3)])
    with pytest.raises(RedisConnectionError, match="no sentinel"):
        newest([])


@pytest.mark.parametrize(
    ("fields", "is_down", "is_choosing"),
    [
        ({b"flags": b"master"}, False, False),
        ({b"flags": b"master,s_down"}, True, False),
        ({b"flags": b"master,s_down,o_down"}, True, False),
        ({b"flags": b"master,disconnected"}, True, False),
        ({b"flags": b"master", b"failover-state": b"wait_start"}, False, False),
        ({b"flags": b"master", b"failover-state": b"wait_promotion"}, False, True),
    ],
)
def test_an_answer_tells_of_a_primary_that_is_down_and_of_a_choice(
    fields: dict[bytes, bytes], is_down: bool, is_choosing: bool
) -> None:
    known = {b"ip": b"one", b"port": b"6379", b"config-epoch": b"7", b"num-slaves": b"2"}
    told = [part for pair in (known | fields).items() for part in pair]
    assert read_sentinel_answer(told) == SentinelAnswer(
        "one", 6379, 7, 2, is_down=is_down, is_choosing=is_choosing
    )


@pytest.mark.parametrize(
    ("replication", "found"),
    [
        ({"role": "master", "slave0": {"state": "online", "lag": 0}}, True),
        ({"slave0": {"state": "send_bulk", "lag": 0}}, False),
        ({"slave0": {"state": "online", "lag": 9}}, False),
        ({"slave0": {"state": "online", "lag": 9}, "slave1": {"state": "online", "lag": 1}}, True),
        ({"role": "master", "connected_slaves": 0}, False),
        (RedisConnectionError(), False),
    ],
)
def test_a_replica_counts_while_it_follows(replication: Any, found: bool) -> None:
    assert has_live_replica(replication) is found


def test_a_replica_that_is_gone_must_confirm_until_its_promotion_would_be_known() -> None:
    watch = ReplicaWatch()
    watch.note(ONE, has_replica=True, now=10.0)
    assert watch.must_confirm
    watch.note(ONE, has_replica=False, now=10.0 + REPLICA_GONE_SECONDS)
    assert watch.must_confirm
    watch.note(ONE, has_replica=False, now=10.5 + REPLICA_GONE_SECONDS)
    assert not watch.must_confirm


def test_a_new_primary_writes_alone_until_it_has_a_replica() -> None:
    watch = ReplicaWatch()
    watch.note(ONE, has_replica=True, now=10.0)
    watch.note(TWO, has_replica=False, now=11.0)
    assert not watch.must_confirm
    watch.note(TWO, has_replica=True, now=12.0)
    assert watch.must_confirm
