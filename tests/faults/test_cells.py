"""Every fault of tests/faults/cells.py on one real stack under load, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ccproxy.launcher.programs import find_script
from tests.faults.cells import CELLS, Cell, Table, try_cell
from tests.support.stack import Stack, simulated, simulators, stacks

pytestmark = [pytest.mark.faults, pytest.mark.claude, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def stack(_homes: Callable[[], Path]) -> Iterator[Stack]:
    """Two gateways and one SDK worker, before a simulator of their own."""
    for start_simulator in simulators(_homes):
        settings = simulated(start_simulator()) | {"SERVER__WORKERS": "2"}
        for start in stacks(find_script("ccproxy"), _homes, settings):
            yield start().wait_ready()


@pytest.mark.parametrize("cell", CELLS, ids=str)
async def test_a_stack_lives_through_a_fault_under_load(
    cell: Cell, stack: Stack, table: Table
) -> None:
    await try_cell(cell, stack, table)
