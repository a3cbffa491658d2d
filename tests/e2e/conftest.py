"""The whole stack as a user starts it, in a home of its own, on a free port.

`stack`         one for the whole session, with the simulator behind it: `.url`, `.simulator_url`, `.home`,
                `.pid_of("analytics")`, `.kill("analytics")` (SIGKILL), `.wait_ready()`, `.logs` (all it said so far).
`start_stack`   `start_stack(SDK__WORKERS="2")` starts one more for this test alone; keywords are settings.
`start_plain`   the same with stand-ins for the services (tests/support/standin.py): the launcher on its own, quickly.
`start_simulator`  a simulator alone; returns its address.
`truth`         what the provider sees of this test.

Each is stopped at its end, and the test fails if one of its processes or sockets is left.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ccproxy.launcher.programs import find_script
from tests.support.simulator_fixture import GroundTruth
from tests.support.stack import Stack, simulated, simulators, stacks


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def simulator_url(_homes: Callable[[], Path]) -> Iterator[str]:
    for start in simulators(_homes):
        yield start()


@pytest.fixture
def start_simulator(_homes: Callable[[], Path]) -> Iterator[Callable[[], str]]:
    yield from simulators(_homes)


@pytest.fixture(scope="session")
def stack(_homes: Callable[[], Path], simulator_url: str) -> Iterator[Stack]:
    for start in stacks(find_script("ccproxy"), _homes, simulated(simulator_url)):
        yield start().wait_ready()


@pytest.fixture
def start_stack(_homes: Callable[[], Path], simulator_url: str) -> Iterator[Callable[..., Stack]]:
    yield from stacks(find_script("ccproxy"), _homes, simulated(simulator_url))


@pytest.fixture
def start_plain(_homes: Callable[[], Path]) -> Iterator[Callable[..., Stack]]:
    yield from stacks(
        [sys.executable, "-P", str(Path(__file__).parent.parent / "support/standin_stack.py")],
        _homes,
        {},
    )


@pytest.fixture
def truth(stack: Stack) -> Iterator[GroundTruth]:
    """What the provider sees of this test."""
    found = GroundTruth(stack.simulator_url)
    found.clear()
    yield found
    found.close()
