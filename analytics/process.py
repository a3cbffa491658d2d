"""Analytics as a process: one writer into DuckDB, and the answers read beside it."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from importlib import import_module

from analytics.audit import AuditTrail
from analytics.consumer import SLOTS, RecordConsumer
from analytics.price_updates import PriceUpdates
from analytics.recent_prompts import RecentPrompts
from analytics.schedule import run_schedule
from analytics.server import QueryServer
from analytics.store import Store
from analytics.watch import Watchers
from shared.accounts.prices import FETCHED_PRICES, Prices
from shared.bus import Bus
from shared.bus.channels import ACCESS_RECORD, LOGS_QUERY, LOGS_WATCH, PERMISSION_AUDIT
from shared.bus.serving import serve_each
from shared.runtime.metric_snapshots import publish_snapshots
from shared.runtime.metrics import AnalyticsMetrics, Metrics
from shared.runtime.process import instance_name, run_service, settle_collector
from shared.settings.tree import Settings

SERVICE = "analytics"
QUERIES_AT_ONCE = 4
AUDITS_AT_ONCE = 4
WATCHERS_AT_ONCE = 64


def main() -> None:
    run_service(SERVICE, run_analytics)


async def run_analytics(settings: Settings, stop: asyncio.Event) -> None:
    os.umask(0o077)  # who used what, and when, is nobody else's to read
    instance = instance_name()
    observability = settings.observability
    metrics = Metrics()
    store = Store(observability.duckdb_path)
    prices = Prices.load(observability.duckdb_path.with_name(FETCHED_PRICES))
    updates = PriceUpdates(prices, observability.prices_url)
    try:
        async with Bus(settings.redis.address(), service=SERVICE, instance=instance) as bus:
            watchers = Watchers(bus)
            prompts = RecentPrompts(prices)
            consumer = RecordConsumer(
                store, AnalyticsMetrics(metrics), bus.describe, prices, watchers, prompts
            )
            queries = QueryServer(store, consumer.progress, updates, prompts.forget)
            async with (
                asyncio.TaskGroup() as tasks,
                aclosing(bus.serve(ACCESS_RECORD, slots=SLOTS)) as records,
            ):
                tasks.create_task(
                    publish_snapshots(bus, metrics, service=SERVICE, instance=instance, stop=stop)
                )
                audit = AuditTrail(store)
                tasks.create_task(
                    serve_each(bus, PERMISSION_AUDIT, audit.keep, slots=AUDITS_AT_ONCE, stop=stop)
                )
                tasks.create_task(
                    serve_each(bus, LOGS_QUERY, queries.answer, slots=QUERIES_AT_ONCE, stop=stop)
                )
                tasks.create_task(
                    serve_each(bus, LOGS_WATCH, watchers.serve, slots=WATCHERS_AT_ONCE, stop=stop)
                )
                if url := observability.pushgateway_url:
                    # few owners push, and its HTTP client costs 3 MB
                    push = import_module("analytics.push")
                    tasks.create_task(
                        push.push_metrics(bus, url, observability.pushgateway_seconds, stop)
                    )
                tasks.create_task(
                    run_schedule(settings.redis.address(), store, updates, observability, stop)
                )
                telling = tasks.create_task(watchers.keep_telling())
                settle_collector()
                # The consumer decides the end: the other tasks see the same `stop`, and the file is
                # closed after all of them.
                await consumer.run(records, stop)
                telling.cancel()
    finally:
        await store.close()
