"""Cases of a family: `make test` runs the first of them, `make conformance` runs all.

A case that proves nothing of its own belongs behind the first ones: the same refusal on another
command, the same turn in another mode.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def matrix(cases: Iterable[Any], *, first: int = 1) -> list[Any]:
    """Return `cases` for `parametrize`, all but the `first` with the mark `matrix`.

    A tuple holds the values of several arguments, as `parametrize` has it.
    """
    marked = []
    for number, case in enumerate(cases):
        values = case if isinstance(case, tuple) else (case,)
        marks = [] if number < first else [pytest.mark.matrix]
        marked.append(pytest.param(*values, marks=marks))
    return marked
