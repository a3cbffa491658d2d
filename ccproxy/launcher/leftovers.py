"""Processes of the stack that are still there when supervisord has ended.

Every program of the stack is in the session that the launcher made for supervisord, whoever its
parent is by now. A program that hangs heeds no SIGTERM, so it is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

PROC = Path("/proc")


def kill_session(session: int) -> list[int]:
    """Send SIGKILL to every process of the session, and return the process ids."""
    killed = []
    for pid in _process_ids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
    return killed


def _process_ids() -> list[int]:
    """Return the ids of all processes: from /proc where there is one (a slim image has no `ps`)."""
    if PROC.is_dir():
        return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    listed = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, text=True, check=False)  # noqa: S607
    return [int(word) for word in listed.stdout.split()]
