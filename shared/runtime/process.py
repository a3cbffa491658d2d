"""The life of one service process: settings, log, signals, an end. Every service's entry point is
one call to `run`.

A service ends in order on SIGTERM or SIGINT, and also when the process that started it dies: a
supervisor killed outright leaves nothing behind. A service whose event loop hangs ends too
(shared/runtime/loop_watch.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable

import uvloop

from shared.runtime.log import configure_log, get_log
from shared.runtime.loop_watch import watched_loop
from shared.runtime.visible_text import visible
from shared.settings.problems import ConfigurationError
from shared.settings.tree import Settings, load_settings

PARENT_POLL_SECONDS = 1.0
COLLECT_AFTER = (50_000, 20, 20)  # allocations, then generations; Python's own are (700, 10, 10)
COLLECT_SECONDS = 30.0
ORPHAN_SECONDS = (
    45.0  # for an orderly end without a supervisor; the exchange of a login may take 30 of them
)
PR_SET_PDEATHSIG = 1  # linux/prctl.h
CONFIGURATION_EXIT = 78  # sysexits.h, EX_CONFIG
DRAINED_EXIT = (
    100  # asked to finish what it had and to take nothing new, and did: a supervisor leaves it down
)

Serve = Callable[[Settings, asyncio.Event], Awaitable[int | None]]


def instance_name() -> str:
    """Return the name of this process within the service: the supervisor's name for the process,
    else host and pid.
    """
    return os.environ.get("CCPROXY_INSTANCE") or f"{socket.gethostname()}-{os.getpid()}"


def end_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when the parent's starting thread ends.

    On systems other than Linux the function has no effect.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def settle_collector() -> None:
    """Have the garbage collector leave out the objects of start-up, and look for cycles seldom:
    looking was a tenth of the work. `collect_by_the_clock` finds the remaining cycles of a library
    or a mistake.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


async def collect_by_the_clock(seconds: float = COLLECT_SECONDS) -> None:
    """Collect garbage every `seconds`, until cancelled; a process with few allocations never would
    by itself. Free memory then goes back to the system: the memory of large bodies would stay with
    the process.
    """
    while True:
        await asyncio.sleep(seconds)
        gc.collect()
        await asyncio.to_thread(trim_memory)


def trim_memory() -> None:
    """Have the C library give free memory back to the system. Without glibc the function has no
    effect.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def run_service(service: str, serve: Serve) -> None:
    """Run `serve(settings, stop)` to the end. `stop` is set by a signal or the parent's death.

    The result of `serve` may be an exit code. A configuration that cannot be used ends the process
    with one sentence and exit code 78.
    """
    try:
        settings = load_settings()
        configure_log(
            level=settings.server.log_level,
            style=settings.server.log_format,
            service=service,
            instance=instance_name(),
        )
        code = uvloop.run(_serve_until_stopped(settings, serve))
    except ConfigurationError as error:
        sys.stderr.write(visible(f"{service}: {error.message}\n"))
        raise SystemExit(CONFIGURATION_EXIT) from None
    if code:
        raise SystemExit(code)


async def _serve_until_stopped(settings: Settings, serve: Serve) -> int | None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    watch = asyncio.create_task(_watch_parent(stop))
    collecting = asyncio.create_task(collect_by_the_clock())
    try:
        async with watched_loop():
            return await serve(settings, stop)
    finally:
        watch.cancel()
        collecting.cancel()
        await asyncio.gather(watch, collecting, return_exceptions=True)
        # what is frozen is never released, of which DuckDB's bindings complain at length
        gc.unfreeze()
        get_log().debug("stopped")


def end_later(seconds: float, end: Callable[[], None]) -> threading.Timer:
    """Call `end` after `seconds` if the process still lives then, whatever the state of the event
    loop.
    """
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer


def kill_own_group() -> None:
    """Kill our own process, or the whole group if our process leads a group."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


async def _watch_parent(stop: asyncio.Event) -> None:
    """Set `stop` when this process is orphaned. Only a supervised process has a parent to watch."""
    if not os.environ.get("CCPROXY_SUPERVISED"):
        return
    parent = os.getppid()
    end_with_parent()
    while os.getppid() == parent and not stop.is_set():  # noqa: ASYNC110 - the kernel tells nobody on macOS
        await asyncio.sleep(PARENT_POLL_SECONDS)
    stop.set()
    # An orderly end without a supervisor may hang with nobody left to kill this process; the timer
    # does it.
    if os.getppid() != parent:
        end_later(ORPHAN_SECONDS, kill_own_group)
