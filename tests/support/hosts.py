"""Hosts beside each other on one machine: each has a network, a name and processes of its own, and
a link to the network of the hub.

Invariant: no host outlives the process that made it, however that process ends. The kernel kills
the first process of a host with its maker, every process of the host with the first one, and takes
the network away with the last one. The namespaces have no names, so runs beside each other never
meet.

Needs root, `unshare`, `nsenter`, `setpriv` and `ip`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.support.namespaces import why_no_namespaces

PROGRAMS = ("nsenter", "setpriv", "ip", "mount")
KILLED_WITH_MAKER = ("setpriv", "--pdeathsig", "KILL")
APART = ("unshare", "--net", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child")
# Waiting in a loop, so that the programs of the host that lose their parent are reaped.
FIRST_PROCESS = """
set -e
hostname "$1"
ip link set lo up
echo up
while :; do sleep 60 & wait; done
"""
NETWORK = "198.51.100"  # TEST-NET-2, which no machine has
BRIDGE = "lan"
CLONE_NEWNET = 0x40000000  # linux/sched.h
END_SECONDS = 20.0


def why_no_hosts() -> str:
    """Return why this machine cannot have hosts beside each other; an empty text if it can."""
    if why_not := why_no_namespaces("--net", "--uts", "--pid", "--fork", programs=PROGRAMS):
        return why_not
    bridge = ["ip", "link", "add", BRIDGE, "type", "bridge"]
    tried = subprocess.run([*APART, *bridge], capture_output=True, text=True, check=False)
    return f"this machine makes no namespaces: {tried.stderr}" if tried.returncode else ""


class Host:
    """A host called `name`. Its programs write their output to files in `folder`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._programs: list[tuple[str, subprocess.Popen[bytes]]] = []
        command = [*KILLED_WITH_MAKER, *APART, "sh", "-c", FIRST_PROCESS, "sh", name]
        with self.log(name).open("ab") as log:
            self._maker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert self._maker.stdout is not None
        assert self._maker.stdout.readline() == b"up\n"
        [first] = psutil.Process(self._maker.pid).children()
        self.pid = first.pid

    def start(
        self, command: Sequence[str | Path], environment: Mapping[str, str]
    ) -> psutil.Process:
        """Start a program on this host, in the host's folder, and return its process."""
        inside = ["nsenter", "--target", str(self.pid), "--net", "--uts", "--pid", "--mount"]
        placed = ["env", f"--chdir={self.folder}", *command]
        name = Path(command[0]).name
        with self.log(name).open("ab") as log:
            program = subprocess.Popen(
                [*KILLED_WITH_MAKER, *inside, *placed], env=environment, stdout=log, stderr=log
            )
        self._programs.append((name, program))
        # `nsenter` starts the program in a process of its own, which belongs to the host.
        entered = psutil.Process(program.pid)
        while not (found := entered.children()):
            assert program.poll() is None, self.log(name).read_text()
        return found[0]

    def assert_well(self) -> None:
        """Fail with the output of a program of this host that ended with an error."""
        for name, program in self._programs:
            assert not program.poll(), self.log(name).read_text()

    def run(self, *command: str) -> None:
        """Run `command` in the network of this host. Raises CalledProcessError."""
        subprocess.run(
            ["nsenter", "--target", str(self.pid), "--net", *command],
            check=True,
            capture_output=True,
        )

    def end(self) -> None:
        """Kill every process of this host at once, without a word to anybody."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)
        for process in (self._maker, *(program for _, program in self._programs)):
            process.wait(END_SECONDS)
        assert self._maker.stdout is not None
        self._maker.stdout.close()

    def log(self, name: str) -> Path:
        """Return the file with the output of the program `name`."""
        return self.folder / f"{name}.log"


class Hub(Host):
    """The host whose network the others are linked with; its address is `address`."""

    address = f"{NETWORK}.1"

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self.run("ip", "link", "add", BRIDGE, "type", "bridge")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", BRIDGE)
        self.run("ip", "link", "set", BRIDGE, "up")

    def link(self, host: Host, number: int) -> None:
        """Link `host` with the hub's network; `number` is the last part of its address."""
        ends = ["name", host.name, "netns", str(self.pid), "type", "veth"]
        subprocess.run(
            ["ip", "link", "add", *ends, "peer", "name", "uplink", "netns", str(host.pid)],
            check=True,
            capture_output=True,
        )
        host.run("ip", "address", "add", f"{NETWORK}.{number}/24", "dev", "uplink")
        host.run("ip", "link", "set", "uplink", "up")
        self.run("ip", "link", "set", host.name, "master", BRIDGE, "up")

    def cut(self, host: Host) -> None:
        """Take the link of `host` down: what is sent either way is lost, and nobody is told."""
        self.run("ip", "link", "set", host.name, "down")

    def mend(self, host: Host) -> None:
        """Bring the link of `host` up again."""
        self.run("ip", "link", "set", host.name, "up")

    def lose(self, host: Host) -> None:
        """Let `host` lose its power: the link falls silent, then every process is killed."""
        self.run("ip", "link", "delete", host.name)
        host.end()

    def threads(self, count: int) -> ThreadPoolExecutor:
        """Return threads of this process whose connections begin in the hub's network."""
        return ThreadPoolExecutor(count, initializer=enter_network, initargs=(self.pid,))


def enter_network(pid: int) -> None:
    """Move the calling thread to the network of the process `pid`. Raises OSError."""
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        entered = ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET)
    if entered:
        raise OSError(ctypes.get_errno(), "setns")
