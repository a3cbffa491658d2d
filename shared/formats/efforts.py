"""The reasoning efforts, and the choice of a model's effort for an effort that the model does not
have, or for a budget of tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Every vendor's reasoning efforts, weakest first."""
_RANKS = {effort: rank for rank, effort in enumerate(EFFORTS)}


def nearest_effort(wanted: str, has: Iterable[str]) -> str | None:
    """Return the strongest effort of `has` that is no stronger than `wanted`, else the weakest;
    None if `has` is empty.
    """
    known = sorted(_RANKS.keys() & has, key=_RANKS.__getitem__)
    limit = _RANKS.get(wanted, _RANKS["medium"])
    fitting = [effort for effort in known if _RANKS[effort] <= limit] or known[:1]
    return fitting[-1] if fitting else None


def effort_of_budget(budget: int) -> str:
    return "low" if budget <= 4_096 else "medium" if budget <= 16_384 else "high"
