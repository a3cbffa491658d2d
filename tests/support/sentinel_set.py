"""Two Redis servers and three sentinels on loopback, real processes: one server is the primary, the
other its replica, and the sentinels choose anew when the primary is gone.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from ccproxy.launcher.redis_server import find_server
from shared.settings.servers import RedisSettings

SERVICE = "bus"
PASSWORD = "s3cret/of:servers"
SENTINEL_CONFIGURATION = """\
port {port}
bind 127.0.0.1
dir {directory}
sentinel monitor bus 127.0.0.1 {primary} 2
sentinel auth-pass bus {password}
sentinel down-after-milliseconds bus 1500
sentinel failover-timeout bus 2000
"""
SERVER_CONFIGURATION = """\
port {port}
bind 127.0.0.1
dir {directory}
save ""
appendonly yes
repl-diskless-sync-delay 0
requirepass {password}
masterauth {password}
{replicaof}
"""
START_SECONDS = 30


def free_ports(count: int) -> list[int]:
    """Return free ports of loopback, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class SentinelSet:
    """The five processes, with their files below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._program = find_server(RedisSettings())
        self.servers = free_ports(2)
        self.sentinels = free_ports(3)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        self.url = f"redis+sentinel://:{PASSWORD.replace('/', '%2F')}@{hosts}/{SERVICE}/0"

    def start(self) -> None:
        """Start all five, and return once the sentinels know each other and the replica."""
        primary, replica = self.servers
        self._start_server(primary)
        self._start_server(replica, of=primary)
        self.wait_for_replica()
        for port in self.sentinels:
            self._start_sentinel(port, primary)
        for port in self.sentinels:
            until(lambda port=port: self._sees_all(port))  # type: ignore[misc]

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait(20)

    def client(self, port: int) -> redis.Redis:
        """Return a client of the server at `port`."""
        return redis.Redis(port=port, password=PASSWORD, socket_timeout=5)

    def primary(self) -> int:
        """Return the port of the primary, in the words of the first sentinel."""
        with redis.Redis(port=self.sentinels[0]) as sentinel:
            return int(sentinel.sentinel_master(SERVICE)["port"])

    def replica(self) -> int:
        """Return the port of the server that is not the primary."""
        primary = self.primary()
        return next(port for port in self.servers if port != primary)

    def send(self, port: int, signum: signal.Signals) -> None:
        """Send `signum` to the process at `port`; a killed process is waited for."""
        self._processes[port].send_signal(signum)
        if signum == signal.SIGKILL:
            self._processes[port].wait(20)

    def fail_over(self) -> None:
        """Ask a sentinel for an orderly change of the primary."""
        with redis.Redis(port=self.sentinels[0]) as sentinel:
            sentinel.execute_command("SENTINEL FAILOVER", SERVICE)

    def wait_for_primary(self, port: int) -> None:
        """Return once every sentinel names the server at `port` and the server agrees."""
        until(lambda: all(self._names(sentinel, port) for sentinel in self.sentinels))
        with self.client(port) as server:
            until(lambda: server.info("replication")["role"] == "master")

    def start_again(self, port: int) -> None:
        """Start a killed server as a replica of the primary."""
        self._start_server(port, of=self.primary())
        self.wait_for_replica()

    def wait_for_replica(self) -> None:
        """Return once the primary has a replica that follows."""
        port = self.servers[0] if not self._has_sentinels() else self.primary()
        with self.client(port) as server:
            until(lambda: "online" in str(server.info("replication").get("slave0", "")))

    def _has_sentinels(self) -> bool:
        return any(port in self._processes for port in self.sentinels)

    def _start_server(self, port: int, of: int | None = None) -> None:
        replicaof = f"replicaof 127.0.0.1 {of}" if of else ""
        self._start(port, SERVER_CONFIGURATION, replicaof=replicaof)

    def _start_sentinel(self, port: int, primary: int) -> None:
        self._start(port, SENTINEL_CONFIGURATION, "--sentinel", primary=primary)

    def _start(self, port: int, text: str, *options: str, **values: Any) -> None:
        directory = self._directory / str(port)
        directory.mkdir(parents=True, exist_ok=True)
        configuration = directory / "server.conf"
        configuration.write_text(
            text.format(port=port, directory=directory, password=PASSWORD, **values)
        )
        with (directory / "log").open("ab") as log:
            self._processes[port] = subprocess.Popen(
                [self._program, configuration, *options], stdout=log, stderr=log
            )
        until(lambda: answers(port))

    def _names(self, sentinel_port: int, port: int) -> bool:
        with redis.Redis(port=sentinel_port) as sentinel:
            return int(sentinel.sentinel_master(SERVICE)["port"]) == port

    def _sees_all(self, sentinel_port: int) -> bool:
        with redis.Redis(port=sentinel_port) as sentinel:
            state = sentinel.sentinel_master(SERVICE)
        return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)


def answers(port: int) -> bool:
    """Return True if something listens at `port` of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds. Raises AssertionError after START_SECONDS."""
    late = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < late, "the servers did not get there"
        time.sleep(0.02)
