"""A process whose event loop hangs: how it is noticed, and how it ends.

While the loop runs, it beats once a second. Two parties listen. A thread in the same process counts
the looks that found no new beat; after SILENT_LOOKS of them it prints where every thread is and
ends the process, so that whoever supervises it starts another: supervisord, or a container's
restart policy. And each beat is a datagram with the process id to the socket that HEARTBEAT_SOCKET
names, where ccproxy/launcher/heartbeats.py kills a process whose thread cannot run either (stopped,
or inside a C function that keeps Python's lock).

A time in which the whole process could not run (a suspended machine, a collection of garbage)
counts as one look at most, and a slow disk delays no loop that leaves its writing to threads. So
neither ends a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable

from shared.runtime.alive_file import HEARTBEAT_SOCKET

BEAT_SECONDS = 1.0
SILENT_LOOKS = 12  # with the second of a beat, a hung process ends within 14 s
HUNG_EXIT = 70  # sysexits.h, EX_SOFTWARE


def end_hung_process() -> None:
    """Print the stack of every thread to stderr, and end this process at once with exit code 70."""
    with contextlib.suppress(OSError, ValueError):
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
    os._exit(HUNG_EXIT)


class LoopWatch:
    """The beats of the running event loop, and the thread that measures how long the last beat is
    ago.
    """

    def __init__(
        self,
        end: Callable[[], None] = end_hung_process,
        *,
        beat_seconds: float = BEAT_SECONDS,
        silent_looks: int = SILENT_LOOKS,
    ) -> None:
        self._end = end
        self._beat_seconds = beat_seconds
        self._silent_looks = silent_looks
        self._beats = 0
        self._stopped = threading.Event()
        self._supervisor = os.environ.get(HEARTBEAT_SOCKET, "")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            self._beats += 1
            self._show_supervisor()
            await asyncio.sleep(self._beat_seconds)

    def watch(self) -> None:
        """Look for new beats until `stop`, in a thread; call `end` when SILENT_LOOKS in a row found
        none.
        """
        seen = -1
        silent = 0
        while not self._stopped.wait(self._beat_seconds):
            # Counted in looks and not in seconds: after a suspension of the machine the clock has
            # moved on, but only one look was missed.
            silent = silent + 1 if self._beats == seen else 0
            seen = self._beats
            if silent >= self._silent_looks:
                self._end()
                return

    def stop(self) -> None:
        self._stopped.set()
        self._socket.close()

    def _show_supervisor(self) -> None:
        """Send a datagram to the supervisor. An absent or busy supervisor never delays this
        process.
        """
        if self._supervisor:
            with contextlib.suppress(OSError):
                self._socket.sendto(str(os.getpid()).encode(), self._supervisor)


@contextlib.asynccontextmanager
async def watched_loop(watch: LoopWatch | None = None) -> AsyncIterator[None]:
    """Watch the running event loop while inside."""
    watch = watch or LoopWatch()
    beating = asyncio.create_task(watch.beat())
    threading.Thread(target=watch.watch, name="loop-watch", daemon=True).start()
    try:
        yield
    finally:
        beating.cancel()
        watch.stop()
