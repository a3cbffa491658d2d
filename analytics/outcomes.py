"""The judgement of a provider by how its last requests ended, for the dashboard and for alerts.
Pure.
"""

from __future__ import annotations

from typing import Any, Literal

Level = Literal["pass", "warn", "fail"]

FEW = 3  # failures: fewer say nothing of the provider
MANY_FAILED = 0.2  # of the last requests
MOST_FAILED = 0.5
# Failures without a success since: sixty good requests before an outage would hide it for long.
MANY_IN_A_ROW = 5


def level_of(outcomes: dict[str, Any]) -> Level:
    """Return the level of trouble of a provider: `fail` while requests do not succeed, `warn` while
    many requests fail.
    """
    share = outcomes["failed"] / outcomes["requests"]
    in_a_row = outcomes["failed_in_a_row"]
    if outcomes["failed"] < FEW:
        return "pass"
    if in_a_row >= MANY_IN_A_ROW or (in_a_row and share >= MOST_FAILED):
        return "fail"
    return "warn" if share >= MANY_FAILED else "pass"
