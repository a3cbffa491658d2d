"""One suite for both SDKs: the real program against the simulated provider."""

from __future__ import annotations

import pytest
import pytest_asyncio

from sdk_worker.door import drivers
from tests.sdk_stack import answered, running_worker, worker_settings

pytestmark = [pytest.mark.claude, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=drivers(), ids=lambda driver: driver.name)
async def worker(request, simulator_url, tmp_path_factory):
    settings = worker_settings(simulator_url, tmp_path_factory.mktemp("cwd"), pool_size=2)
    async with running_worker(settings, request.param) as running:
        yield running


async def test_a_turn_streams_token_by_token_and_ends_with_its_stop_reason(worker, simulator):
    turn = await answered(worker, "[[say:one two three four]]")
    assert turn.text == "one two three four"
    assert turn.message["stop_reason"] == "end_turn"
    assert turn.message["usage"]["output_tokens"] > 1
    assert len([event for event in turn.events if event["type"] == "content_block_delta"]) > 1
    print(turn.head, turn.tail)
