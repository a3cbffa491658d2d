"""supervisord, as the launcher runs it: quicker, orphan-proof, and on a listening socket it is
handed.

Six changes to the stock program, each an override of one of its own methods: it looks around every
50 ms instead of every second; it stops when the launcher is gone; it kills a program whose
heartbeats have stopped; it kills what a dead program leaves in its process group; it stops programs
of one priority at once; and when it stops them all, it first ends the listening.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from typing import Any

from supervisor.datatypes import SocketConfig
from supervisor.medusa.asyncore_25 import ExitNow
from supervisor.options import ServerOptions
from supervisor.states import SupervisorStates
from supervisor.supervisord import Supervisor

from ccproxy.launcher.heartbeats import Heartbeats
from shared.runtime.alive_file import HEARTBEAT_SOCKET

TURN_SECONDS = 0.05  # stock supervisord sleeps up to 1 s a turn, and each state change costs a turn
STOPPING_TURN_SECONDS = 0.01
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def sends_heartbeats(process: Any) -> bool:
    """Return True for a program whose section of supervisord.conf names the heartbeat socket."""
    return HEARTBEAT_SOCKET in (process.config.environment or {})


class InheritedSocket(SocketConfig):  # type: ignore[misc]
    """The launcher's listening socket in place of one supervisord would open, and close whenever no
    program is up.
    """

    def __init__(self, fd: int) -> None:
        self.url = f"fd://{fd}"
        self._fd = fd

    def create_and_bind(self) -> socket.socket:
        return socket.socket(fileno=os.dup(self._fd))


class ShortPoll:
    """A poller with sleeps of at most a turn, and a check of the launcher and the programs in every
    turn.
    """

    def __init__(self, options: Options, poller: Any) -> None:
        self._options = options
        self._poller = poller

    def poll(self, timeout: float) -> Any:
        # supervisord calls its poller once a turn, which makes this the place for what has to be
        # looked at all the time.
        self._options.notice_orphaned()
        self._options.kill_silent()
        stopping = self._options.mood < SupervisorStates.RUNNING
        return self._poller.poll(min(timeout, STOPPING_TURN_SECONDS if stopping else TURN_SECONDS))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


class Options(ServerOptions):  # type: ignore[misc]
    """supervisord's interface to the operating system."""

    poller: Any
    mood: int

    def __init__(self, launcher: int, listening_fd: int, heartbeats: Heartbeats) -> None:
        super().__init__()
        self._launcher = launcher
        self._listening_fd = listening_fd
        self._heartbeats = heartbeats
        self.poller = ShortPoll(self, self.poller)

    def realize(self, *args: Any, **kwargs: Any) -> None:
        super().realize(*args, **kwargs)
        for group in self.process_group_configs:
            if hasattr(group, "socket_config"):
                group.socket_config = InheritedSocket(self._listening_fd)

    def notice_orphaned(self) -> None:
        if os.getppid() == self._launcher or self.mood < SupervisorStates.RUNNING:
            return
        # The same mood as after SIGTERM: supervisord's own loop then stops everything in order.
        self.mood = SupervisorStates.SHUTDOWN
        nowhere = os.open(os.devnull, os.O_WRONLY)
        # The pipe to the launcher is broken; a line about that must not end the stopping
        for stream in (
            1,
            2,
        ):
            os.dup2(nowhere, stream)

    def refuse_connections(self) -> None:
        """End listening in every process that has the socket: clients are refused at once, and none
        waits in an unserved queue.

        (Only Linux does so; elsewhere they wait for the launcher's end.)
        """
        listening = socket.socket(fileno=os.dup(self._listening_fd))
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()

    def kill_silent(self) -> None:
        """Kill every program without heartbeats; supervisord then restarts the program, or goes on
        stopping.
        """
        owing = {pid for pid, process in self.pidhistory.items() if sends_heartbeats(process)}
        for pid in self._heartbeats.silent(self.pidhistory, time.monotonic(), owing):
            name = self.pidhistory[pid].config.name
            self.logger.warn(
                f"{name} (pid {pid}) has been silent for {self._heartbeats.allowed(pid):g} s: it "
                "hangs and is killed"
            )
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # The group, because a program that hangs does not end its own children.
                os.killpg(pid, signal.SIGKILL)

    def setpgrp(self) -> None:
        """Give every new child a group, and an end with this process (Linux)."""
        # Called in the child between fork and exec, so both hold for the program and not for
        # supervisord.
        super().setpgrp()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def waitpid(self) -> tuple[int | None, int | None]:
        """Reap a child and kill its group, before anything is restarted; events name the pid too
        late or not at all.
        """
        pid, status = super().waitpid()
        # A dead program's children would hold its sockets and files while its successor starts.
        if pid in self.pidhistory:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        return pid, status


class Supervision(Supervisor):  # type: ignore[misc]
    """supervisord's main loop."""

    def ordered_stop_groups_phase_1(self) -> None:
        self.options.refuse_connections()
        if self.stop_groups:
            # The stock method stops one group a turn and waits for it; groups of the same priority
            # need not wait for each other.
            priority = self.stop_groups[-1].config.priority
            for group in self.stop_groups:
                if group.config.priority == priority:
                    group.stop_all()


def main() -> None:
    """Run until stopped, with supervisord's own arguments. Always exit with 0: the reason of the
    end is in RUN/fatal.
    """
    heartbeats = Heartbeats(os.environ[HEARTBEAT_SOCKET])
    options = Options(
        int(os.environ["CCPROXY_LAUNCHER"]), int(os.environ["CCPROXY_LISTENING_FD"]), heartbeats
    )
    # The order of supervisord's own `main`, with our classes in place of its own.
    options.realize(sys.argv[1:], doc="supervisord for CCProxy")
    options.first = True
    options.test = False
    with contextlib.suppress(ExitNow):
        Supervision(options).main()
    heartbeats.close()
    options.close_httpservers()
    options.close_logger()


if __name__ == "__main__":
    main()
