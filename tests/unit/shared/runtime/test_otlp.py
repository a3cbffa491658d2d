"""Spans reach a collector; one that is away costs spans and nothing else."""

from __future__ import annotations

import time

from shared.runtime.otlp import open_exporter
from tests.support.collector import Collector


async def test_a_span_arrives_with_its_parent_its_facts_and_its_failure() -> None:
    with Collector() as collector:
        async with open_exporter(collector.url + "/", "gateway", "g1") as tracer:
            whole = tracer.start("server", None)
            part = tracer.start("client", whole.traceparent)
            part.end("part", {"tokens": 3, "unknown": None, "reasons": ["stop"]}, error="quota")
            whole.end("whole", {})
    part_told, whole_told = collector.one("part"), collector.one("whole")
    assert collector.paths == {"/v1/traces"}
    assert part_told.span.trace_id == whole_told.span.trace_id
    assert part_told.span.parent_span_id == whole_told.span.span_id
    assert part_told.attributes == {"tokens": 3, "reasons": ["stop"], "error.type": "quota"}
    assert (part_told.failed, whole_told.failed) == (True, False)
    assert whole_told.service == "ccproxy-gateway"


async def test_a_collector_that_is_away_holds_up_neither_a_span_nor_the_end() -> None:
    began = time.monotonic()
    async with open_exporter("http://127.0.0.1:1", "gateway", "g1") as tracer:
        tracer.start("server", None).end("lost", {})
    assert time.monotonic() - began < 4
