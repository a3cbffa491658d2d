from __future__ import annotations

import pytest

from shared.formats.efforts import EFFORTS, effort_of_budget, nearest_effort


@pytest.mark.parametrize(
    ("wanted", "has", "found"),
    [
        ("high", {"low", "medium", "high"}, "high"),
        ("max", {"low", "medium", "high"}, "high"),
        ("minimal", {"low", "medium"}, "low"),
        ("unheard-of", {"low", "medium", "max"}, "medium"),
        ("high", {"ultra"}, None),
    ],
)
def test_the_nearest_effort_is_never_stronger_unless_all_are(
    wanted: str, has: set[str], found: str | None
) -> None:
    assert nearest_effort(wanted, has) == found


def test_a_budget_is_an_effort() -> None:
    assert [effort_of_budget(budget) for budget in (1024, 4096, 4097, 16_385)] == [
        "low",
        "low",
        "medium",
        "high",
    ]


def test_efforts_are_listed_weakest_first() -> None:
    assert (
        EFFORTS.index("none") < EFFORTS.index("low") < EFFORTS.index("high") < EFFORTS.index("max")
    )
