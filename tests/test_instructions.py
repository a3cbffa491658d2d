"""The hot path takes no more instructions than its limits allow, however busy the machine is."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.instructions import count, excesses, in_yardsticks, limits_of


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind counts the instructions")
@pytest.mark.timeout(600)
def test_no_piece_of_the_hot_path_takes_more_instructions_than_its_limit() -> None:
    limits = limits_of()
    if not limits:
        pytest.skip("no limits for this version of Python")
    assert excesses(in_yardsticks(count()), limits) == []
