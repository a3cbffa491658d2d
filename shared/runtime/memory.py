"""The memory of this machine or container, and how many waiting `claude` processes fit into it."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
CLAUDE_BYTES = 170 * 1024 * 1024  # a connected `claude` that waits (measured with 2.1)
LARGEST_USUAL_POOL = 3


def usable_bytes(cgroup: Path = CGROUP) -> int:
    """Return the bytes of memory of the machine, or the limit of the machine's container."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = (cgroup / "memory.max").read_text().strip()
    except OSError:
        return physical
    return min(physical, int(limit)) if limit.isdigit() else physical


def usual_pool_size(memory: int) -> int:
    """Return the number of waiting processes for `memory` bytes: an eighth of the memory, from 1 to
    3.
    """
    fitting = memory // (8 * CLAUDE_BYTES)
    return max(1, min(LARGEST_USUAL_POOL, fitting))
