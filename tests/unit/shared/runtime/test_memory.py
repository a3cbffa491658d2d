from __future__ import annotations

from pathlib import Path

import pytest

from shared.runtime.memory import usable_bytes, usual_pool_size

GIGABYTE = 1024**3


@pytest.mark.parametrize(("gigabytes", "size"), [(0.5, 1), (1, 1), (2, 1), (3, 2), (4, 3), (64, 3)])
def test_a_small_machine_keeps_fewer_processes_ready(gigabytes: float, size: int) -> None:
    assert usual_pool_size(int(gigabytes * GIGABYTE)) == size


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    physical = usable_bytes(tmp_path / "none")
    assert physical > 0
    (tmp_path / "memory.max").write_text("1048576\n")
    assert usable_bytes(tmp_path) == 1048576
    (tmp_path / "memory.max").write_text("max\n")
    assert usable_bytes(tmp_path) == physical
