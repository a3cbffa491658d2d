"""A provider is judged by its last requests: few failures say nothing, and a success ends the worst
level.
"""

from __future__ import annotations

import pytest

from analytics.outcomes import level_of


@pytest.mark.parametrize(
    ("requests", "failed", "in_a_row", "level"),
    [
        (60, 0, 0, "pass"),
        (2, 2, 2, "pass"),
        (60, 4, 4, "pass"),
        (60, 12, 0, "warn"),
        (60, 40, 0, "warn"),
        (6, 3, 1, "fail"),
        (3, 3, 3, "fail"),
        (60, 5, 5, "fail"),
    ],
)
def test_a_provider_fails_when_most_requests_or_the_last_five_failed_and_none_succeeded_since(
    requests: int, failed: int, in_a_row: int, level: str
) -> None:
    row = {"requests": requests, "failed": failed, "failed_in_a_row": in_a_row}
    assert level_of(row) == level
