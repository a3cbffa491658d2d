"""A request to a provider has one line in the log; the stack's own questions only when they fail."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from gateway.server.request_line import GATHER_SECONDS, RequestLines
from shared.bus.channels import AccessRecord


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="ccproxy")
    return caplog


def record(**facts: object) -> AccessRecord:
    made = AccessRecord("req_1", 1.0, "POST", "/api/v1/messages", service_type="claude")
    for name, value in {"status_code": 200, "duration_ms": 12.34, **facts}.items():
        setattr(made, name, value)
    return made


def lines_of(*records: AccessRecord) -> None:
    lines = RequestLines()
    for each in records:
        lines.add(each)
    lines.flush()


async def test_a_request_to_a_provider_is_told_with_its_facts(
    told: pytest.LogCaptureFixture,
) -> None:
    spent = {"tokens_input": 10, "cache_read_tokens": 30, "tokens_output": 5}
    lines_of(record(caller="aider", model="opus", cost_sdk_usd=0.25, **spent))
    (line,) = told.records
    assert line.getMessage() == "request"
    assert json.loads(json.dumps(line.__dict__["facts"])) == {
        "request_id": "req_1",
        "method": "POST",
        "path": "/api/v1/messages",
        "status": 200,
        "duration_ms": 12.3,
        "caller": "aider",
        "model": "opus",
        "tokens_input": 40,
        "tokens_output": 5,
        "cost_usd": 0.25,
    }


async def test_the_stacks_own_questions_are_told_only_when_they_fail(
    told: pytest.LogCaptureFixture,
) -> None:
    own = {"service_type": "gateway", "path": "/usage"}
    lines_of(record(**own), record(**own, status_code=401))
    (line,) = told.records
    assert line.__dict__["facts"]["status"] == 401


async def test_a_cost_that_is_not_known_is_left_out(told: pytest.LogCaptureFixture) -> None:
    lines_of(record())
    assert "cost_usd" not in told.records[0].__dict__["facts"]


async def test_lines_wait_for_each_other_and_each_is_written_once(
    told: pytest.LogCaptureFixture,
) -> None:
    lines = RequestLines()
    lines.add(record())
    lines.add(record())
    assert not told.records
    lines.flush()
    lines.flush()
    assert len(told.records) == 2


async def test_a_line_is_written_without_a_further_request(
    told: pytest.LogCaptureFixture,
) -> None:
    lines = RequestLines()
    lines.add(record())
    gathered = asyncio.Event()
    asyncio.get_running_loop().call_later(2 * GATHER_SECONDS, gathered.set)
    await gathered.wait()
    assert len(told.records) == 1
