"""What /metrics promises: the names boards rely on, and labels nobody can blow up."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from shared.bus.channels import AccessRecord
from shared.runtime.metrics import (
    MAX_SERIES,
    MAX_VALUES_PER_LABEL,
    AnalyticsMetrics,
    Metrics,
    PermissionMetrics,
    PoolMetrics,
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: bytes) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def finished(**facts: Any) -> AccessRecord:
    known: dict[str, Any] = {
        "request_id": "r1",
        "timestamp": 1.0,
        "method": "POST",
        "endpoint": "/api/v1/messages",
        "model": "claude-x",
        "status_code": 200,
        "duration_ms": 1500.0,
        "service_type": "proxy_service",
    }
    return AccessRecord(**(known | facts))


WHERE = {"model": "claude-x", "endpoint": "/api/v1/messages", "service_type": "proxy_service"}


def test_a_request_is_counted_under_the_names_boards_use() -> None:
    metrics = Metrics()
    record = finished(
        first_byte_ms=250.0,
        tokens_input=10,
        tokens_output=20,
        cache_read_tokens=30,
        cache_write_tokens=40,
        cost_usd=0.5,
        billed_to="subscription",
    )
    metrics.observe(record)
    paid = replace(record, billed_to="api_key", cost_usd=0.25)
    metrics.count_costs([record, paid, replace(record, cost_usd=None)])
    samples = read(metrics.snapshot())
    spent = {"model": "claude-x", "service_type": "proxy_service"}
    assert value(samples, "ccproxy_requests_total", method="POST", status="200", **WHERE) == 1
    assert value(samples, "ccproxy_response_duration_seconds_sum", **WHERE) == 1.5
    assert value(samples, "ccproxy_response_duration_seconds_bucket", le="1.0", **WHERE) == 0
    assert value(samples, "ccproxy_response_duration_seconds_bucket", le="2.5", **WHERE) == 1
    assert value(samples, "ccproxy_first_byte_seconds_sum", **WHERE) == 0.25
    for kind, tokens in (("input", 10), ("output", 20), ("cache_read", 30), ("cache_write", 40)):
        assert value(samples, "ccproxy_tokens_total", type=kind, **spent) == tokens
    assert value(samples, "ccproxy_cost_usd_total", cost_type="total", **spent) == 0.75
    assert value(samples, "ccproxy_cost_usd_total", cost_type="paid", **spent) == 0.25
    assert not [name for name, _ in samples if name.startswith("ccproxy_errors")]


def test_a_failure_is_counted_by_its_kind() -> None:
    metrics = Metrics()
    metrics.observe(finished(status_code=504, error_kind="timeout"))
    metrics.observe(finished(status_code=500))
    samples = read(metrics.snapshot())
    assert value(samples, "ccproxy_errors_total", error_type="timeout", **WHERE) == 1
    assert value(samples, "ccproxy_errors_total", error_type="other", **WHERE) == 1


def test_a_request_that_never_got_a_byte_has_no_time_to_first_byte() -> None:
    metrics = Metrics()
    metrics.observe(finished(status_code=502, error_kind="upstream"))
    assert b"ccproxy_first_byte_seconds_count{" not in metrics.snapshot()


def models_seen(metrics: Metrics) -> set[str]:
    samples = read(metrics.snapshot())
    return {dict(labels)["model"] for name, labels in samples if name == "ccproxy_requests_total"}


def test_a_model_name_nobody_confirmed_is_counted_as_other() -> None:
    metrics = Metrics()
    metrics.observe(finished(model="made-up", status_code=404))
    metrics.observe(finished(model="", status_code=200))
    assert models_seen(metrics) == {"other"}
    metrics.observe(finished(model="claude-x", status_code=429))
    metrics.observe(finished(model="claude-x", status_code=400))
    assert models_seen(metrics) == {"other", "claude-x"}


def test_an_endless_variety_of_models_ends_in_other() -> None:
    metrics = Metrics()
    for number in range(MAX_VALUES_PER_LABEL * 3):
        metrics.observe(finished(model=f"m{number}"))
    assert len(models_seen(metrics)) == MAX_VALUES_PER_LABEL + 1
    samples = read(metrics.snapshot())
    rest = value(
        samples,
        "ccproxy_requests_total",
        method="POST",
        status="200",
        **(WHERE | {"model": "other"}),
    )
    assert rest == MAX_VALUES_PER_LABEL * 2


def test_however_many_labels_meet_the_text_stays_short() -> None:
    metrics, few = Metrics(), range(MAX_VALUES_PER_LABEL // 2)
    for model, endpoint in product(few, few):
        metrics.observe(finished(model=f"m{model}", endpoint=f"/{endpoint}"))
    counted = [
        count
        for (name, _), count in read(metrics.snapshot()).items()
        if name == "ccproxy_requests_total"
    ]
    assert len(counted) == MAX_SERIES + 1
    assert sum(counted) == len(few) ** 2


def test_paths_and_methods_a_client_made_up_are_counted_as_other() -> None:
    metrics = Metrics()
    metrics.observe(finished(method="BREW", endpoint="/wp-admin", status_code=404))
    samples = read(metrics.snapshot())
    labels = WHERE | {"model": "other", "endpoint": "other", "method": "other", "status": "404"}
    assert value(samples, "ccproxy_requests_total", **labels) == 1


def test_active_follows_the_requests_that_are_open() -> None:
    metrics = Metrics()
    metrics.active = 1
    assert value(read(metrics.snapshot()), "ccproxy_active_requests") == 1


def test_the_processes_of_every_kind_have_gauges_of_their_own() -> None:
    metrics = Metrics()
    PoolMetrics(metrics).idle.set(3)
    PermissionMetrics(metrics).decided.labels("denied").inc()
    AnalyticsMetrics(metrics).batches.inc(2)
    samples = read(metrics.snapshot())
    assert value(samples, "ccproxy_pool_idle") == 3
    assert value(samples, "ccproxy_permissions_decided_total", outcome="denied") == 1
    assert value(samples, "ccproxy_analytics_batches_total") == 2


def test_a_pool_shows_what_it_has_and_counts_what_it_did_in_all() -> None:
    metrics = Metrics()
    pool = PoolMetrics(metrics)
    pool.show({"idle": 3, "hits": 5})
    pool.show({"idle": 1, "hits": 7})
    samples = read(metrics.snapshot())
    assert value(samples, "ccproxy_pool_idle") == 1
    assert value(samples, "ccproxy_pool_hits_total") == 7
