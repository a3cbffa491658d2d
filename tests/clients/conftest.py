"""One guarded stack on the simulator for all clients, a trap for whoever calls anyone else, and the
results' table.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ccproxy.launcher.programs import find_script
from tests.clients.table import TABLE, Trial, render_table, trials
from tests.support.codex import write_login
from tests.support.simulator_fixture import GroundTruth
from tests.support.stack import Stack, simulated, simulators, stacks

TOKEN = "the-token-of-the-owner"  # every client has to send its key in a way the guard reads


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def _providers(_homes: Callable[[], Path]) -> Iterator[str]:
    for start in simulators(_homes):
        yield start()


@pytest.fixture(scope="session")
def stack(_homes: Callable[[], Path], _providers: str) -> Iterator[Stack]:
    login = {"CODEX__API_KEY": "", "CODEX__AUTH_FILE": str(write_login(_homes() / "auth.json"))}
    settings = simulated(_providers) | login | {"SECURITY__AUTH_TOKEN": TOKEN}
    for start in stacks(find_script("ccproxy"), _homes, settings):
        yield start().wait_ready()


@pytest.fixture
def truth(stack: Stack) -> Iterator[GroundTruth]:
    found = GroundTruth(stack.simulator_url)
    found.clear()
    yield found
    found.close()


class Trap(socketserver.ThreadingTCPServer):
    """A proxy that only notes who was asked for. A client that heeds no proxy variable
    escapes it.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Noting)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Noting(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.server.asked.append(self.rfile.readline(1000).decode(errors="replace").strip())


@pytest.fixture(scope="session")
def _trap() -> Iterator[Trap]:
    with Trap() as trap:
        serving = threading.Thread(target=trap.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        yield trap
        trap.shutdown()
        serving.join()


@pytest.fixture
def trap(_trap: Trap) -> Trap:
    _trap.asked.clear()
    return _trap


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-clients-table", action="store_true", help="write the table when every trial passed"
    )


passed: set[Trial] = set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.passed and (trial := getattr(item, "callspec", None)):
        passed.update(value for value in trial.params.values() if isinstance(value, Trial))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--write-clients-table", default=False):
        missing = [trial for trial in trials() if trial not in passed]
        if missing:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            print(f"\nThe table is not written; not passed: {', '.join(map(str, missing))}")  # noqa: T201
        else:
            TABLE.write_text(render_table())
