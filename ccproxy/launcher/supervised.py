"""One run of supervisord, from its start to the end of the last of its programs.

The launcher stays supervisord's parent, on a pipe of its own making (children cannot open a foreign
stdout). Invariant: when `supervise` returns, no program of the stack is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio import Task
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ccproxy.cli.console import LogOutput, say, shape_of_log
from ccproxy.cli.exits import DONE, UNSTABLE
from ccproxy.launcher.leftovers import kill_session
from ccproxy.launcher.listening import refuse_connections
from ccproxy.launcher.programs import Places
from ccproxy.launcher.rundir import RunDirectory
from ccproxy.launcher.statedir import StateDirectory
from shared.settings.tree import Settings

# Priorities of supervisord.conf beside the gateways'; each may take as long as a program may take
# to stop.
STOPPED_IN_TURN = 2
MARGIN_SECONDS = 2.0
LINE_LIMIT = 1024 * 1024
START_LOOK_SECONDS = 0.1
LOOK_SECONDS = 1.0  # between two looks at the run directory


@dataclass(frozen=True, slots=True)
class Stack:
    """The parts of a start. `token` is the stack's own token, see `ccproxy/launcher/stacks.py`."""

    settings: Settings
    places: Places
    url: str
    run: RunDirectory
    state: StateDirectory
    listening: socket.socket
    environment: dict[str, str]
    token: str


async def supervise(
    stack: Stack, when_started: Callable[[], Coroutine[Any, Any, int | None]]
) -> int | None:
    """Run supervisord from start to end. Return the exit code; None if the run directory was lost
    and the stack must be started again in a new directory. `when_started` is awaited beside
    supervisord, and ends the stack by returning a code.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:  # `nohup ccproxy` stays
            loop.add_signal_handler(signum, asked.set)
    # On a terminal it says that the terminal is gone, to a service that its files changed
    if not os.isatty(0):
        loop.add_signal_handler(signal.SIGHUP, (stack.run.path / "reload").touch)
    supervisord = await _start_supervisord(stack)
    # Four things may happen first, each a task of its own: supervisord ends, a signal asks for the
    # end, the stack is ready, the run directory is lost. The output is copied all the while, and on
    # after the end.
    ended = asyncio.create_task(supervisord.wait())
    output = asyncio.create_task(_copy_output(supervisord, stack))
    stopping = asyncio.create_task(asked.wait())
    ready = asyncio.create_task(when_started())
    lost = asyncio.create_task(_notice_loss(stack))
    try:
        await asyncio.wait({ended, stopping, ready, lost}, return_when=asyncio.FIRST_COMPLETED)
        # Ready without a code of its own: the stack stays until one of the other three happens.
        if ready.done() and ready.result() is None:
            await asyncio.wait({ended, stopping, lost}, return_when=asyncio.FIRST_COMPLETED)
        code = _outcome(stack, ended, stopping, ready, lost)
    finally:
        for task in (stopping, ready, lost):
            task.cancel()
        refuse_connections(stack.listening)  # as supervisord does, unless it was killed
        # The gateways drain first, then two groups of other programs stop one after the other;
        # supervisord may take as long as all of them.
        stop_seconds = float(stack.environment["CCPROXY_STOP_SECONDS"])
        gateway_seconds = float(stack.environment["CCPROXY_GATEWAY_STOP_SECONDS"])
        timeout = gateway_seconds + STOPPED_IN_TURN * stop_seconds + MARGIN_SECONDS
        await _stop(supervisord, ended, timeout)
        # Programs outlive a supervisord that was killed. Their common session is what is left to
        # find them by.
        await _kill_leftovers(supervisord.pid, output, stop_seconds + MARGIN_SECONDS)
    # it may have been asked to stop meanwhile
    return DONE if code is None and asked.is_set() else code


async def _notice_loss(stack: Stack) -> None:
    """Return once the run directory or the sockets are gone in two checks in a row (a single check
    may meet an orderly end).
    """
    control = stack.places.sockets / "control.sock"
    while not control.exists():  # noqa: ASYNC110 - supervisord is just starting, and tells nobody
        await asyncio.sleep(START_LOOK_SECONDS)
    losses = 0
    while losses < 2:
        await asyncio.sleep(LOOK_SECONDS)
        is_lost = stack.run.is_lost() or not control.exists()
        # One missing socket may be supervisord's orderly end, which `ended` tells a moment later.
        losses = losses + 1 if is_lost else 0


def _outcome(
    stack: Stack,
    ended: Task[int],
    stopping: Task[Any],
    ready: Task[int | None],
    lost: Task[None],
) -> int | None:
    if stopping.done():
        return DONE
    if lost.done() and not ended.done():
        say(f"The run directory {stack.run.path} was removed; CCProxy starts again in a new one.")
        return None
    if ended.done():
        say(
            f"CCProxy ends: {stack.run.fatal() or 'supervisord ended unexpectedly.'} The log above "
            "says more."
        )
        return UNSTABLE
    return ready.result() or DONE


async def _start_supervisord(stack: Stack) -> Process:
    """Start supervisord in a separate session: Ctrl-C reaches only the launcher, for a stop in
    order.
    """
    # supervisord holds the locks as well, through the same open files: a lock is free only when
    # both processes are gone.
    fds = (stack.listening.fileno(), stack.run.lock, stack.state.lock)
    return await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-P",
            "-m",
            "ccproxy.launcher.supervision",
            "-c",
            str(stack.run.path / "supervisord.conf"),
        ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=stack.environment | {"CCPROXY_LISTENING_FD": str(stack.listening.fileno())},
        pass_fds=fds,
        start_new_session=True,
        limit=LINE_LIMIT,
    )


async def _stop(supervisord: Process, ended: Task[int], timeout: float) -> None:
    """Ask supervisord to stop all programs in order; kill supervisord after `timeout` seconds."""
    if not ended.done():
        supervisord.terminate()
        await asyncio.wait({ended}, timeout=timeout)
    if not ended.done():
        supervisord.kill()  # its programs notice, and end by themselves
        await ended


async def _kill_leftovers(session: int, output: Task[None], timeout: float) -> None:
    """Wait until every program has closed the output; kill the remaining programs after `timeout`
    seconds.
    """
    # Every program writes into the same pipe, so its end tells that the last of them has gone.
    await asyncio.wait({output}, timeout=timeout)
    if not output.done():
        killed = await asyncio.to_thread(kill_session, session)
        say(
            "Killed what did not stop by itself: "
            f"{', '.join(map(str, killed)) or 'nothing was found'}."
        )
    # a reader that is gone must not keep the launcher
    await asyncio.wait({output}, timeout=timeout)
    output.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await output


async def _copy_output(supervisord: Process, stack: Stack) -> None:
    """Copy the logs of the programs until the last program has closed the output."""
    assert supervisord.stdout is not None
    out = sys.stdout.fileno()
    log = LogOutput(out, shape_of_log(out, stack.settings.server.log_format, stack.url))
    try:
        while line := await read_pipe_line(supervisord.stdout):
            log.feed(line)
    finally:
        log.close()


async def read_pipe_line(reader: asyncio.StreamReader) -> bytes:
    """Return a line, or the reader's whole buffer for a longer line; empty at the end."""
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        # A longer line is passed on in pieces; the reader would stop for ever at a line that does
        # not fit its buffer.
        return await reader.readexactly(error.consumed)
