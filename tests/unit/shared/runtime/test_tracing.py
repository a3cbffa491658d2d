"""Whether there are traces is the owner's choice, and costs nothing when there are none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shared.runtime.tracing import open_tracer
from shared.settings.tree import ObservabilitySettings
from tests.support.collector import Collector

OFF = """
import asyncio, sys
from shared.settings.problems import ConfigurationError
from shared.settings.tree import ObservabilitySettings
from shared.runtime.tracing import open_tracer

async def look(**given):
    async with open_tracer(ObservabilitySettings(**given), service="gateway", instance="i") as tracer:
        return tracer

assert asyncio.run(look()) is None
assert asyncio.run(look(otlp_endpoint="http://127.0.0.1:1", enabled=False)) is None
assert not [name for name in sys.modules if name.startswith(("opentelemetry", "shared.runtime.otlp"))]
sys.modules["opentelemetry"] = None  # as if the extra were not installed
try:
    asyncio.run(look(otlp_endpoint="http://127.0.0.1:1"))
except ConfigurationError as error:
    sys.exit(0 if "extra `otel`" in error.message else 2)
"""


def test_without_an_endpoint_nothing_is_imported_and_without_the_extra_the_owner_is_told_which() -> (
    None
):
    assert subprocess.run([sys.executable, "-c", OFF], check=False).returncode == 0


async def test_an_endpoint_brings_a_tracer_and_what_is_unreadable_begins_a_trace_of_its_own() -> (
    None
):
    with Collector() as collector:
        settings = ObservabilitySettings(otlp_endpoint=collector.url)
        async with open_tracer(settings, service="gateway", instance="g1") as tracer:
            assert tracer is not None
            for parent in (None, "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
                tracer.start("server", parent).end("a", {})
    traces = {told.span.trace_id for told in collector.named("a")}
    assert len(traces) == 3
    assert not any(told.span.parent_span_id for told in collector.spans)


@pytest.mark.parametrize("flags", ["01", "00"])
async def test_a_caller_decides_whether_its_own_trace_is_kept(flags: str) -> None:
    with Collector() as collector:
        settings = ObservabilitySettings(otlp_endpoint=collector.url)
        async with open_tracer(settings, service="gateway", instance="g1") as tracer:
            assert tracer is not None
            span = tracer.start("server", f"00-{'a' * 32}-{'b' * 16}-{flags}")
            assert span.traceparent.startswith(f"00-{'a' * 32}-")
            assert span.traceparent.endswith(flags)
            span.end("a", {})
    assert len(collector.named("a")) == int(flags)
