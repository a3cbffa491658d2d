"""The file by which a service in a container shows its health check that it does its work.

The bus touches the file after each heartbeat that Redis took, about once a second. So an old file
means: this process hangs, or has lost Redis. Only a container's image names such a file; elsewhere
nothing is written.
"""

from __future__ import annotations

import contextlib
import os

ALIVE_FILE = "CCPROXY_ALIVE_FILE"  # the environment variable that names the file
# Its counterpart under a supervisor, for shared/runtime/loop_watch.py. Named here, because a
# supervisor that imported that module would hold asyncio in memory for it.
HEARTBEAT_SOCKET = "CCPROXY_HEARTBEAT_SOCKET"


def touch_alive_file() -> None:
    """Give the file of CCPROXY_ALIVE_FILE the present time. A file that cannot be touched grows
    old, and the health check says so.
    """
    name = os.environ.get(ALIVE_FILE)
    if not name:
        return
    with contextlib.suppress(OSError):
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600))
        # not pathlib: it would double the cost of a health check, which reads this module
        os.utime(name)
