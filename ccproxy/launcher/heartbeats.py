"""The heartbeats of the programs, as supervisord hears them (sent by shared/runtime/loop_watch.py).

A program that has sent a heartbeat once owes one a second. Silence is counted in supervisord's own
turns, and a turn counts for one second at most: after a time in which supervisord itself did not
run (a suspended machine), every program gets its time to be heard again.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Collection

SILENT_SECONDS = 15.0  # longer than the process itself waits before it ends and says where it hung
TURN_SECONDS_COUNTED = 1.0
MESSAGE_BYTES = 32  # a process id in digits


class Heartbeats:
    """The silence of processes, in seconds. Listens on the datagram socket at `path`
    until `close`.
    """

    def __init__(self, path: str, *, silent_seconds: float = SILENT_SECONDS) -> None:
        self._path = path
        self._silent_seconds = silent_seconds
        self._silence: dict[int, float] = {}
        self._last_look: float | None = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(path)

    def silent(self, living: Collection[int], now: float) -> list[int]:
        """Return the process ids among `living` that have been silent too long at `now` (monotonic
        seconds), each only once.
        """
        # A turn that took longer counts as one second: supervisord itself was away, and the
        # programs may have been too.
        passed = (
            0.0 if self._last_look is None else min(now - self._last_look, TURN_SECONDS_COUNTED)
        )
        self._last_look = now
        heard = self._read()
        self._silence = {
            pid: seconds + passed for pid, seconds in self._silence.items() if pid in living
        }
        # After the adding, so that a program that was just heard begins at zero; a pid is watched
        # only from its first heartbeat on.
        self._silence |= {pid: 0.0 for pid in heard if pid in living}
        silent = [pid for pid, seconds in self._silence.items() if seconds >= self._silent_seconds]
        for pid in silent:
            # Reported once: the kill takes a moment, and the pid may be another program's later.
            del self._silence[pid]
        return silent

    def close(self) -> None:
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    def _read(self) -> set[int]:
        """Return the process ids of all received heartbeats."""
        heard = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                message = self._socket.recv(MESSAGE_BYTES)
                if message.isdigit():
                    heard.add(int(message))
        return heard
