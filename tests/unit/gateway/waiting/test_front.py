from __future__ import annotations

import pytest

from gateway.waiting.front import queues_of
from shared.settings.tree import QueueSettings


@pytest.mark.parametrize(
    ("at_once", "gateways", "expected"), [(8, 1, 8), (8, 2, 4), (7, 2, 3), (1, 4, 1)]
)
def test_the_gateways_share_out_the_requests_at_once_and_each_has_one_at_least(
    at_once: int, gateways: int, expected: int
) -> None:
    queues = queues_of(QueueSettings(claude_at_once=at_once), gateways)
    assert queues["claude"].at_once == expected


def test_a_provider_without_a_number_at_once_has_no_queue() -> None:
    assert queues_of(QueueSettings(), 1) == {}
    assert list(queues_of(QueueSettings(codex_at_once=3), 1)) == ["codex"]
