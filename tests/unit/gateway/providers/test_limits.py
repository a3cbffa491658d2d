"""Events of limits are noticed wherever the network cuts and however they are spelled; the bytes
stay as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.providers.limits import KEPT_BYTES, watch_limits
from shared.formats.sse import split_events
from simulator.spelling import SPELLINGS, respell

LIMITS = b'event: codex.rate_limits\ndata: {"type":"codex.rate_limits","plan_type":"plus"}\n\n'
TEXT = (
    b"event: response.output_text.delta\ndata: "
    b'{"type":"response.output_text.delta","delta":"hi"}\n\n'
)
QUOTED = b'event: x\ndata: {"type":"response.output_text.delta","delta":"codex.rate_limits"}\n\n'


async def watched(*chunks: bytes) -> tuple[bytes, list[dict[str, Any]]]:
    async def provided() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    told: list[dict[str, Any]] = []
    return b"".join([chunk async for chunk in watch_limits(provided(), told.append)]), told


@pytest.mark.parametrize("number", range(len(SPELLINGS)))
async def test_an_event_of_limits_is_learned_once_wherever_the_network_cuts(number: int) -> None:
    stream = b"".join(
        respell(event, number) for event in split_events(TEXT + QUOTED + LIMITS + TEXT)
    )
    for cut in range(1, len(stream)):
        passed, told = await watched(stream[:cut], stream[cut:])
        assert passed == stream
        assert [event["plan_type"] for event in told] == ["plus"], f"cut at {cut}"


async def test_an_event_of_limits_is_learned_byte_by_byte_and_at_the_end_of_a_stream() -> None:
    stream = TEXT + LIMITS.rstrip()
    passed, told = await watched(*(stream[place : place + 1] for place in range(len(stream))))
    assert passed == stream
    assert len(told) == 1


@pytest.mark.parametrize(
    "data", [b"[]", b"{", b'"codex.rate_limits"', b'{"type":["codex.rate_limits"]}']
)
async def test_an_event_of_limits_of_an_odd_shape_tells_nothing(data: bytes) -> None:
    stream = b"event: codex.rate_limits\ndata: " + data + b"\n\n" + TEXT * (KEPT_BYTES // 50)
    assert await watched(stream) == (stream, [])
