"""The counts of several processes in one text: merged, told apart, and there in time."""

from __future__ import annotations

import asyncio

import pytest

from shared.runtime.errors import BusUnavailable
from shared.runtime.metric_snapshots import publish_snapshots, render_metrics, snapshot_key
from shared.runtime.metrics import Metrics, PoolMetrics
from tests.unit.shared.runtime.test_metrics import WHERE, finished, read, value


def test_merged_processes_keep_their_series_apart() -> None:
    first, second = Metrics(), Metrics()
    first.observe(finished())
    second.observe(finished())
    second.observe(finished())
    text = render_metrics(
        {
            snapshot_key("gateway", "g:1"): first.snapshot(),
            snapshot_key("gateway", 'g"2'): second.snapshot(),
        }
    )
    samples = read(text)
    labels = WHERE | {"method": "POST", "status": "200", "component": "gateway"}
    assert value(samples, "ccproxy_requests_total", instance_id="g:1", **labels) == 1
    assert value(samples, "ccproxy_requests_total", instance_id='g"2', **labels) == 2
    assert value(samples, "ccproxy_active_requests", component="gateway", instance_id="g:1") == 0
    assert text.count(b"# TYPE ccproxy_requests_total counter") == 1
    assert b"_created" not in text


def test_the_samples_of_a_family_follow_its_type_line_whoever_sent_them() -> None:
    pool = Metrics()
    PoolMetrics(pool)
    gateway = Metrics()
    gateway.observe(finished())
    text = render_metrics(
        {
            snapshot_key("gateway", "1"): gateway.snapshot(),
            snapshot_key("sdk_worker", "1"): pool.snapshot(),
        }
    )
    family = ""
    for line in text.decode().split("\n"):
        if line.startswith("# TYPE "):
            family = line.split()[2]
        elif line and not line.startswith("#"):
            assert line.startswith(family)


def test_label_values_with_every_special_character_survive_the_merge() -> None:
    metrics = Metrics()
    odd = 'a"b\\c\nd{e}f g,h="i"'
    metrics.observe(finished(model=odd))
    samples = read(render_metrics({snapshot_key("gateway", "1"): metrics.snapshot()}))
    assert odd in {dict(labels).get("model") for _, labels in samples}


class Shelf:
    """Stands in for the bus: refuses the first `refusals` puts, tells when one has arrived."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.puts: list[tuple[str, bytes, float]] = []
        self.arrived = asyncio.Event()

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        if self.refusals:
            self.refusals -= 1
            raise BusUnavailable
        self.puts.append((key, value, ttl))
        self.arrived.set()


@pytest.mark.parametrize("refusals", [0, 1])
async def test_a_snapshot_is_there_at_once_and_a_last_one_when_the_process_stops(
    refusals: int,
) -> None:
    shelf, metrics, stop = Shelf(refusals), Metrics(), asyncio.Event()
    task = asyncio.create_task(
        publish_snapshots(shelf, metrics, service="gateway", instance="1", stop=stop)
    )
    await shelf.arrived.wait()
    metrics.observe(finished())
    stop.set()
    await task
    (first_key, first, ttl), (_, last, _) = shelf.puts
    assert (first_key, ttl) == ("metrics:gateway:1", 15.0)
    assert b"ccproxy_requests_total{" not in first
    assert b"ccproxy_requests_total{" in last


async def test_a_process_stops_although_redis_is_away() -> None:
    stop = asyncio.Event()
    stop.set()
    await publish_snapshots(
        Shelf(refusals=1), Metrics(), service="gateway", instance="1", stop=stop
    )
