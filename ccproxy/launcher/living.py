"""Whether a process lives. This module imports little, for commands that run many times a minute.

A process that has ended and waits to be reaped is not alive, though its id is in use.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def is_alive(pid: Any) -> bool:
    """Return True if a process has the id `pid`. An ended process in wait for reaping
    is not alive.
    """
    if not isinstance(pid, int) or _is_zombie(pid):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # The process is there, and belongs to another user.
    except PermissionError:
        return True
    return True


def _is_zombie(pid: int) -> bool:
    """Return True if /proc reports the end of the process; False without /proc."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return facts.rpartition(b") ")[2].startswith(b"Z")
