"""The memory of a running stack: what each of its processes holds alone, and its share of what
several hold (PSS).
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

import psutil

from tests.support.stack import Stack, environment_of, supervised_as

MEBIBYTE = 1024 * 1024
PARTS = 6  # of a series; the fourth and the sixth are the begin and the end of its second half


def pss(pid: int) -> int:
    """Return the bytes of one process."""
    return int(psutil.Process(pid).memory_full_info().pss)


def gateways_memory(stack: Stack) -> int:
    """Return the bytes of all gateways of `stack`."""
    return sum(pss(pid) for pid in stack.supervised("gateway"))


def program_of(process: psutil.Process) -> str:
    """Return the name of a process in a table: its instance, or the last word of its program's
    name.
    """
    if supervised_as(process) == "redis":
        return "redis"
    if (
        instance := environment_of(process).get("CCPROXY_INSTANCE", "")
        if supervised_as(process)
        else ""
    ):
        return instance
    return "supervisord" if "ccproxy.launcher.supervision" in process.cmdline() else process.name()


def memory_of(stack: Stack) -> dict[str, tuple[int, int]]:
    """Return the pid and the bytes of each process of `stack` by name, its `claude` processes left
    out.
    """
    found = {}
    launcher = psutil.Process(stack.process.pid)
    for process in [launcher, *launcher.children(recursive=True)]:
        try:
            name = "launcher" if process == launcher else program_of(process)
            if not re.search("claude|node", name):
                found[name] = process.pid, pss(process.pid)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def late_growth(series: Sequence[float]) -> float:
    """Return by how much `series` grows in its second half: the difference of the medians of that
    half's first and last third, so that a single high or low value counts for nothing.
    """
    part = max(1, len(series) // PARTS)
    middle = len(series) // 2
    return statistics.median(series[-part:]) - statistics.median(series[middle : middle + part])
