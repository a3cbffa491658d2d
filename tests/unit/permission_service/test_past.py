"""A past request is judged with what was known when it was made, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import pytest

from permission_service.past import PastRequests, read_past_request
from permission_service.requests import PermissionRequests
from permission_service.views import AUDIT_TEXT, audit
from shared.bus.channels import PermissionRequest, encode_payload
from shared.permissions.excerpts import refused_excerpt
from shared.permissions.reach import Reach, ReachedPath
from shared.runtime.errors import NoWorker

NOW = 1_700_000_000.0
ASK = PermissionRequest(
    "a",
    "Read",
    {"file_path": "x", "limit": 2**70},
    caller="alice",
    session_id="s",
    asked_at=NOW,
    working_directory="/project",
    reach=Reach([ReachedPath("/project/x", "/real/x")], complete=True),
    insists=True,
    program="claude",
    machine="box",
)


def record(ask: PermissionRequest) -> dict[str, Any]:
    return asdict(audit(PermissionRequests(300).open(ask, NOW)))


def test_the_request_of_a_record_has_all_that_a_decision_depends_on() -> None:
    found = read_past_request(record(ASK))
    assert found is not None
    found.asked_at = NOW
    assert found == ASK


@pytest.mark.parametrize(
    "kept",
    [
        record(ASK) | {"circumstances": ""},
        record(ASK) | {"circumstances": "[]"},
        record(ASK) | {"input": "[]"},
        record(PermissionRequest("a", "Write", {"content": "x" * (AUDIT_TEXT + 1)})),
        record(refused_excerpt(ASK, "too large")),
        {"request_id": "a"},
    ],
    ids=["older", "odd", "no input", "cut", "excerpt", "empty"],
)
def test_a_request_of_which_too_little_was_kept_is_not_judged(kept: dict[str, Any]) -> None:
    assert read_past_request(kept) is None


class Analytics:
    """A bus with `replies` behind it; without any, nobody serves the call."""

    def __init__(self, *replies: Any) -> None:
        self.replies = replies
        self.asked: Any = None

    @asynccontextmanager
    async def call(self, _channel: Any, question: Any) -> AsyncIterator[Any]:
        self.asked = question
        if not self.replies:
            raise NoWorker

        async def pieces() -> AsyncIterator[bytes]:
            for reply in self.replies:
                yield encode_payload(reply)

        yield pieces()


async def test_all_pieces_of_the_answer_are_read() -> None:
    bus = Analytics({"results": [record(ASK)]}, {"results": [{"request_id": "b"}]}, {"count": 2})
    found = [past async for past in PastRequests(bus).since(NOW)]  # type: ignore[arg-type]
    assert [past.record["request_id"] for past in found] == ["a", "b"]
    assert [past.ask is None for past in found] == [False, True]
    assert bus.asked.parameters["start_time"] == NOW


async def test_missing_analytics_are_named() -> None:
    with pytest.raises(NoWorker, match="analytics"):
        await anext(PastRequests(Analytics()).since(NOW))  # type: ignore[arg-type]
