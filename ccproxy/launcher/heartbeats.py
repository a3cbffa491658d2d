"""The heartbeats of the programs, as supervisord hears them (sent by shared/runtime/loop_watch.py).

A program that has sent a heartbeat once owes one a second. A program of ours owes the first one
within a minute of its start, because it imports its libraries before its event loop runs. Silence
is counted in supervisord's own turns, and a turn counts for one second at most: after a time in
which supervisord itself did not run (a suspended machine), every program gets its time to be heard
again.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Collection

SILENT_SECONDS = 15.0  # longer than the process itself waits before it ends and says where it hung
# A Python start took up to 20 s on a machine with a load of 30; a small board needs 10 s.
FIRST_BEAT_SECONDS = 60.0
TURN_SECONDS_COUNTED = 1.0
MESSAGE_BYTES = 32  # a process id in digits


class Heartbeats:
    """The silence of processes, in seconds. Listens on the datagram socket at `path`
    until `close`.
    """

    def __init__(
        self,
        path: str,
        *,
        silent_seconds: float = SILENT_SECONDS,
        first_beat_seconds: float = FIRST_BEAT_SECONDS,
    ) -> None:
        self._path = path
        self._silent_seconds = silent_seconds
        self._first_beat_seconds = first_beat_seconds
        self._silence: dict[int, float] = {}
        # The programs of `_silence` that have not been heard since their start.
        self._unheard: set[int] = set()
        self._last_look: float | None = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(path)

    def silent(self, living: Collection[int], now: float, owing: Collection[int] = ()) -> list[int]:
        """Return the process ids among `living` silent for too long at `now` (monotonic seconds).
        `owing` are the living programs that send heartbeats, so also a first heartbeat.

        A process id is returned once; one that lives on has a new start's time to be heard.
        """
        # A turn that took longer counts as one second: supervisord itself was away, and the
        # programs may have been too.
        passed = (
            0.0 if self._last_look is None else min(now - self._last_look, TURN_SECONDS_COUNTED)
        )
        self._last_look = now
        heard = self._read().intersection(living)
        started = set(owing).difference(self._silence)
        self._silence = {
            pid: seconds + passed for pid, seconds in self._silence.items() if pid in living
        }
        # After the adding, so that a program that was just heard, or just started, begins at zero.
        self._silence |= dict.fromkeys(started | heard, 0.0)
        self._unheard = ((self._unheard | started) - heard).intersection(self._silence)
        silent = [pid for pid, seconds in self._silence.items() if seconds >= self.allowed(pid)]
        for pid in silent:
            # Reported once: the kill takes a moment, and the pid may be another program's later.
            del self._silence[pid]
        return silent

    def allowed(self, pid: int) -> float:
        """Return the seconds for which the process `pid` may be silent."""
        return self._first_beat_seconds if pid in self._unheard else self._silent_seconds

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
