"""The counts of one process: a registry, the request counts that every process can have, and the
counts of each service. `shared/runtime/metric_snapshots.py` merges the counts of all processes.

Names and labels are those Grafana boards for this product already use. No label takes a value a
client made up: every label has a cap, past which (and for names nobody has confirmed) the value is
`other`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Generic, TypeVar, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from shared.bus.channels import AccessRecord
from shared.runtime.version import VERSION

OTHER = "other"
MAX_VALUES_PER_LABEL = 50
MAX_SERIES = 400  # of one name: a snapshot of full ones takes a tenth of a second, in a thread
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})

DURATION_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 180, 600)
FIRST_BYTE_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60)

disable_created_metrics()  # type: ignore[no-untyped-call]  # nobody reads them, and they are half of some texts

M = TypeVar("M", Counter, Gauge, Histogram)
P = TypeVar("P")


class _Label:
    """The values seen of a label, at most `MAX_VALUES_PER_LABEL`."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def admit(self, value: str, *, learn: bool = True) -> str:
        if value in self._known:
            return value
        if not value or not learn or len(self._known) >= MAX_VALUES_PER_LABEL:
            return OTHER
        self._known.add(value)
        return value


class _Family(Generic[M]):
    """A metric and the metric's series: at most MAX_SERIES, and a further series for the overflow.

    `at` skips the checks of `labels`, which cost more than counting itself.
    """

    def __init__(self, metric: M) -> None:
        self._metric: M = metric
        self._series: dict[tuple[str, ...], M] = {}

    def at(self, *values: str) -> M:
        series = self._series.get(values)
        if series is None:
            # All label values beyond the limit share one series: a client that makes up names must
            # not fill the memory.
            if len(self._series) >= MAX_SERIES:
                values = (OTHER,) * len(values)
            series = self._series[values] = self._metric.labels(*values)
        return series


class Metrics:
    """The counts of a process. Whoever opens and closes requests keeps `active`, their number."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        counter = partial(Counter, registry=registry)
        where = ["model", "endpoint", "service_type"]
        spent = ["model", "service_type"]
        histogram = partial(Histogram, labelnames=where, registry=registry)
        ProcessCollector(registry=registry)
        info = Gauge("ccproxy_info", "Version of CCProxy.", ["version"], registry=registry)
        info.labels(VERSION).set(1)
        self.active = 0
        active = Gauge("ccproxy_active_requests", "Requests open right now.", registry=registry)
        active.set_function(lambda: self.active)
        self.records_lost = counter(
            "ccproxy_records_lost", "Access records that found no room while Redis was away."
        )
        self._requests = _Family(
            counter(
                "ccproxy_requests",
                "Requests.",
                ["method", "endpoint", "model", "status", "service_type"],
            )
        )
        self._duration = _Family(
            histogram(
                "ccproxy_response_duration_seconds",
                "Until the last byte.",
                buckets=DURATION_BUCKETS,
            )
        )
        self._first_byte = _Family(
            histogram(
                "ccproxy_first_byte_seconds",
                "Until the reply's first byte.",
                buckets=FIRST_BYTE_BUCKETS,
            )
        )
        self._tokens = _Family(counter("ccproxy_tokens", "Tokens by type.", ["type", *spent]))
        self._cost = _Family(
            counter("ccproxy_cost_usd", "Dollars by list price.", ["cost_type", *spent])
        )
        self._errors = _Family(counter("ccproxy_errors", "Failures.", ["error_type", *where]))
        self._models = _Label()
        self._endpoints = _Label()
        self._services = _Label()
        self._kinds = _Label()
        self._parts: dict[object, object] = {}

    def part(self, kind: Callable[[Metrics], P]) -> P:
        """Return the part of class `kind` of the metrics; every call returns the same object, so
        counting goes on.
        """
        if kind not in self._parts:
            self._parts[kind] = kind(self)
        return cast("P", self._parts[kind])

    def observe(self, record: AccessRecord) -> None:
        """Count a finished request."""
        # A name that was refused (400, 404) is whatever the client typed; one that took tokens is a
        # model's.
        status = record.status_code
        confirmed = status < 400 or status == 429 or status >= 500 or record.tokens_output > 0
        model = self._models.admit(record.model, learn=confirmed)
        endpoint = self._endpoints.admit(record.endpoint, learn=confirmed)
        service = self._services.admit(record.service_type)
        method = record.method if record.method in METHODS else OTHER
        self._requests.at(method, endpoint, model, str(status), service).inc()
        self._duration.at(model, endpoint, service).observe(record.duration_ms / 1000)
        if record.first_byte_ms is not None:
            self._first_byte.at(model, endpoint, service).observe(record.first_byte_ms / 1000)
        if record.error_kind or record.status_code >= 400:
            self._errors.at(self._kinds.admit(record.error_kind), model, endpoint, service).inc()
        if record.tokens_input or record.tokens_output:
            self._count_tokens(record, model, service)

    def count_costs(self, records: Iterable[AccessRecord]) -> None:
        """Count the list prices of records, known to analytics and unknown to the gateway."""
        sums: defaultdict[tuple[str, str, str], float] = defaultdict(float)
        for record in records:
            if record.cost_usd:
                sums[record.model, record.service_type, record.billed_to] += record.cost_usd
        for (model, service, billed_to), dollars in sums.items():
            spent = self._models.admit(model), self._services.admit(service)
            self._cost.at("total", *spent).inc(dollars)
            if billed_to in {"api_key", "extra_usage"}:
                self._cost.at("paid", *spent).inc(dollars)

    def _count_tokens(self, record: AccessRecord, model: str, service: str) -> None:
        counts = {
            "input": record.tokens_input,
            "output": record.tokens_output,
            "cache_read": record.cache_read_tokens,
            "cache_write": record.cache_write_tokens,
        }
        for kind, count in counts.items():
            series = self._tokens.at(kind, model, service)  # exists from now on, also with a zero
            if count:
                series.inc(count)

    def snapshot(self) -> bytes:
        """Return all counts so far, as Prometheus text without the labels for the process."""
        return generate_latest(self.registry)


class PoolMetrics:
    """The warm `claude` processes of a worker."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self.size = Gauge("ccproxy_pool_size", "Processes wanted ready.", registry=registry)
        self.idle = Gauge(
            "ccproxy_pool_idle", "Processes connected and waiting.", registry=registry
        )
        self.busy = Gauge("ccproxy_pool_busy", "Processes working on a turn.", registry=registry)
        self.waiting = Gauge(
            "ccproxy_pool_waiting", "Turns waiting for a process.", registry=registry
        )
        self.memory = Gauge(
            "ccproxy_pool_memory_bytes", "Resident memory of all processes.", registry=registry
        )
        self.starts = Counter("ccproxy_pool_starts", "Processes started.", registry=registry)
        self.hits = Counter(
            "ccproxy_pool_hits", "Turns that found a process ready.", registry=registry
        )
        self.misses = Counter(
            "ccproxy_pool_misses", "Turns that had to start one.", registry=registry
        )
        self._shown: dict[str, int] = {}

    def show(self, counts: Mapping[str, int]) -> None:
        """Set all values at once, by name; counters as totals so far."""
        for name, count in counts.items():
            metric: Counter | Gauge = getattr(self, name)
            if isinstance(metric, Gauge):
                metric.set(count)
            else:
                metric.inc(count - self._shown.get(name, 0))
        self._shown.update(counts)


class LineMetrics:
    """The queue in front of the workers, as seen by a gateway."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self.waiting = Gauge(
            "ccproxy_sdk_queue_waiting", "Turns that no process works on yet.", registry=registry
        )
        self.waited = Histogram(
            "ccproxy_sdk_queue_wait_seconds",
            "Until a process had the turn.",
            buckets=FIRST_BYTE_BUCKETS,
            registry=registry,
        )
        self.refused = Counter(
            "ccproxy_sdk_queue_refused", "Turns that met a full line.", registry=registry
        )


class WaitingMetrics:
    """The requests that wait in front of a provider, as seen by a gateway: for a free place, and
    for the reset of a limit.
    """

    def __init__(self, metrics: Metrics) -> None:
        where = ["provider"]
        registry = metrics.registry
        self._queued = Gauge(
            "ccproxy_provider_queue_waiting",
            "Requests that wait for a place at a provider.",
            where,
            registry=registry,
        )
        self._waited = Histogram(
            "ccproxy_provider_queue_wait_seconds",
            "Until a request had a place.",
            where,
            buckets=FIRST_BYTE_BUCKETS,
            registry=registry,
        )
        self._refused = Counter(
            "ccproxy_provider_queue_refused",
            "Requests that met a full queue or waited too long.",
            where,
            registry=registry,
        )
        self._held = Gauge(
            "ccproxy_held_requests",
            "Requests held until a limit is reset.",
            where,
            registry=registry,
        )
        self._holds = Counter(
            "ccproxy_holds",
            "Holds that are over: sent, ended before, or refused.",
            ["outcome", *where],
            registry=registry,
        )

    def queued(self, provider: str) -> Gauge:
        """Return the number of requests in the queue of `provider`."""
        return self._queued.labels(provider)

    def waited(self, provider: str, seconds: float) -> None:
        """Count a request that got a place after a wait."""
        self._waited.labels(provider).observe(seconds)

    def refused(self, provider: str) -> None:
        """Count a request that got no place."""
        self._refused.labels(provider).inc()

    def held(self, provider: str) -> Gauge:
        """Return the number of held requests."""
        return self._held.labels(provider)

    def ended(self, provider: str, outcome: str) -> None:
        """Count a finished hold, or a refused wish."""
        self._holds.labels(outcome, provider).inc()


class PermissionMetrics:
    """The permission service."""

    def __init__(self, metrics: Metrics) -> None:
        self.pending = Gauge(
            "ccproxy_permissions_pending",
            "Tools waiting for a decision.",
            registry=metrics.registry,
        )
        self.decided = Counter(
            "ccproxy_permissions_decided", "Decisions.", ["outcome"], registry=metrics.registry
        )
        self.notifications = Counter(
            "ccproxy_notifications",
            "Messages to the owner: sent, retried, given_up or dropped.",
            ["way", "outcome"],
            registry=metrics.registry,
        )
        self.alerts = Counter(
            "ccproxy_alerts", "Alerts to the owner.", ["kind"], registry=metrics.registry
        )


class BusMetrics:
    """The state of Redis as seen by a gateway: no other process can report an absent Redis."""

    def __init__(self, metrics: Metrics) -> None:
        self.connected = Gauge(
            "ccproxy_bus_connected", "Whether Redis answers.", registry=metrics.registry
        )


class QuotaMetrics:
    """The windows of the subscriptions, by name. `empty` has a series only while a window is about
    to be used up.
    """

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        which = ["provider", "window"]
        self._label = _Label()
        self._used = Gauge(
            "ccproxy_quota_used_ratio", "Used part of a window.", which, registry=registry
        )
        self._reset = Gauge(
            "ccproxy_quota_reset_timestamp_seconds", "End of a window.", which, registry=registry
        )
        self._empty = Gauge(
            "ccproxy_quota_empty_timestamp_seconds",
            "When it is used up at this pace.",
            which,
            registry=registry,
        )

    def show(self, windows: Iterable[tuple[str, str, float, float, float | None]]) -> None:
        """(provider, window, used, resets_at, empty_at) of every window there is."""
        for gauge in (self._used, self._reset, self._empty):
            gauge.clear()
        for provider, window, used, resets_at, empty_at in windows:
            labels = provider, self._label.admit(window)
            self._used.labels(*labels).set(used)
            self._reset.labels(*labels).set(resets_at)
            if empty_at is not None:
                self._empty.labels(*labels).set(empty_at)


class AnalyticsMetrics:
    """The way of access records into DuckDB."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self.pending = Gauge(
            "ccproxy_analytics_pending", "Records taken and not yet committed.", registry=registry
        )
        self.lag = Gauge(
            "ccproxy_analytics_lag_seconds",
            "Age of the newest record at its commit.",
            registry=registry,
        )
        self.batches = Counter("ccproxy_analytics_batches", "Batches committed.", registry=registry)
        self.rows = Counter("ccproxy_analytics_rows", "Records committed.", registry=registry)
        self.count_costs = metrics.count_costs
        self.refused = Counter(
            "ccproxy_analytics_refused", "Records that could not be stored.", registry=registry
        )
