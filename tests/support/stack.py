"""One running `ccproxy serve`, as a test sees it from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from ccproxy.launcher.programs import find_script
from ccproxy.launcher.rundir import holder

DEADLINE = 40.0  # generous: the machine may be busy with other tests
START_DEADLINE = (
    120.0  # nine Python processes, on a machine that may start them at a tenth of its speed
)
POLL = 0.02


def until(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Wait for something another process does."""
    late = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < late, f"waited {deadline} s for {what}"
        time.sleep(POLL)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those still running; one that only waits to be reaped is not."""
    found = []
    for process in processes:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return {}


def supervised_as(process: psutil.Process) -> str:
    """The service that supervisord started this process as, or nothing."""
    try:
        if "ccproxy.launcher.supervision" not in psutil.Process(process.ppid()).cmdline():
            return ""
        if process.name().endswith("-server"):  # it writes its title over its environment
            return "redis"
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
    environment = environment_of(process)
    if "SUPERVISOR_PROCESS_NAME" not in environment:  # forked, and not yet the program it will be
        return ""
    return re.sub(r"_\d+$", "", environment.get("CCPROXY_INSTANCE", ""))


class Stack:
    """One running `ccproxy serve`, started in `folder`, or else in `home`."""

    def __init__(
        self, command: list[str], home: Path, settings: dict[str, str], folder: Path | None = None
    ) -> None:
        self.home = home
        self.run_dir = home / "run"
        self.environment = (
            clean_environment(home)
            | {"SERVER__RUN_DIR": str(self.run_dir), "SERVER__PORT": "0"}
            | settings
        )
        self.simulator_url = settings.get("CLAUDE__BASE_URL", "")
        self.process = subprocess.Popen(
            command,
            cwd=folder or home,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=hear_interrupts,  # noqa: PLW1509 - it only sets a signal's handling
        )
        self._lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        with self.process.stdout as output:
            self._lines.extend(output)  # extends as the lines come

    @property
    def logs(self) -> str:
        return "".join(self._lines)

    @property
    def url(self) -> str:
        return holder(self.run_dir)["url"]

    def wait_ready(self) -> Stack:
        """Until it says so, or its end, which fails."""
        until(
            lambda: "is ready at" in self.logs or self.process.poll() is not None,
            f"readiness; it said:\n{self.logs}",
            START_DEADLINE,
        )
        assert self.process.poll() is None, self.logs
        return self

    def processes(self) -> list[psutil.Process]:
        """Everything that belongs to it: its descendants, and whatever inherited its run
        directory's name.
        """
        mine = str(self.run_dir)
        marked = [
            found
            for found in psutil.process_iter()
            if environment_of(found).get("SERVER__RUN_DIR") == mine
        ]
        try:
            descendants = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            descendants = []
        return alive(list({*marked, *descendants}))

    def supervised(self, service: str) -> list[int]:
        """Pids of the supervised processes of a service (`redis`, `gateway`, `sdk_worker`, …)."""
        return [found.pid for found in self.processes() if supervised_as(found) == service]

    def pid_of(self, service: str) -> int:
        until(lambda: self.supervised(service), f"a {service}")
        return self.supervised(service)[0]

    def kill(self, service: str) -> int:
        """Kill it outright; returns the pid it had."""
        pid = self.pid_of(service)
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_replaced(self, service: str, old: int) -> int:
        """The pid of the process that took the place of the killed one."""
        until(lambda: any(pid != old for pid in self.supervised(service)), f"another {service}")
        return next(pid for pid in self.supervised(service) if pid != old)

    def stop(self) -> int:
        """Ask it to stop; returns its exit code. Fails if anything is left."""
        belonging = self.processes()
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(DEADLINE)
        self.assert_gone(belonging)
        return code

    def assert_gone(self, belonging: list[psutil.Process]) -> None:
        until(
            lambda: not alive(belonging) and not self.processes(),
            f"the end of {alive(belonging) + self.processes()}",
        )
        self._reading.join(DEADLINE)
        assert not [path.name for path in self.run_dir.rglob("*") if path.is_socket()]


def hear_interrupts() -> None:
    """As in a terminal: tests that run in the background have inherited to ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def clean_environment(home: Path) -> dict[str, str]:
    """What a new user has: a home, a PATH, and no setting."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"HOME": str(home)}


def simulators(home: Callable[[], Path]) -> Iterator[Callable[[], str]]:
    started = []

    def start() -> str:
        where = home()
        command = [*find_script("ccproxy-simulator"), "--port", "0"]
        log = (where / "simulator.log").open("w")
        process = subprocess.Popen(
            command, cwd=where, env=clean_environment(where), stdout=subprocess.PIPE, stderr=log
        )
        started.append((process, log))
        line = process.stdout.readline()
        assert line, (where / "simulator.log").read_text()
        return json.loads(line)["url"]

    yield start
    for process, log in started:
        process.terminate()
        process.wait(DEADLINE)
        process.stdout.close()
        log.close()


def stacks(
    command: list[str], home: Callable[[], Path], usual: dict[str, str]
) -> Iterator[Callable[..., Stack]]:
    started: list[Stack] = []

    def start(**settings: str) -> Stack:
        started.append(Stack(command, home(), usual | settings))
        return started[-1]

    yield start
    for stack in reversed(started):
        stack.stop()


def simulated(simulator_url: str) -> dict[str, str]:
    """The settings that put the simulator in the providers' place."""
    return {
        "CLAUDE__BASE_URL": simulator_url,
        "CLAUDE__API_KEY": "sk-ant-made-up",
        "CODEX__BASE_URL": f"{simulator_url}/backend-api/codex",
        "CODEX__API_BASE_URL": f"{simulator_url}/v1",
        "CODEX__API_KEY": "sk-made-up",
        "SDK__POOL_SIZE": "1",
    }
