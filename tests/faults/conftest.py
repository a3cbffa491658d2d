"""The fixtures of tests/e2e/conftest.py, for stacks to which something happens, and the table of
what came of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.report import load_average
from tests.e2e.conftest import _homes, simulator_url, start_plain, start_stack
from tests.faults.cells import Table
from tests.faults.page import write_faults

__all__ = ["_homes", "simulator_url", "start_plain", "start_stack"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-faults-table",
        action="store_true",
        help="write docs/reliability.md's table of faults",
    )
    parser.addoption(
        "--write-soak-table",
        action="store_true",
        help="write docs/reliability.md's table of memory over time",
    )


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """The lines of docs/reliability.md; written at the end if no test has failed."""
    table = Table()
    begun = load_average()
    yield table
    if cache := request.config.cache:
        cache.set("faults/table", [row.cells() for row in table.rows])
    if request.config.getoption("--write-faults-table") and not request.session.testsfailed:
        write_faults(table, begun)
