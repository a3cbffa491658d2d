"""Start the stack, watch over it, stop it.

The launcher stays supervisord's parent, on a pipe of its own making (children cannot open a foreign
stdout), holds the run directory's lock and the listening socket, and outlives both. It ends with a
code of `ccproxy/cli/exits.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import signal
import socket
import sys
import time
from asyncio import Task
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccproxy.cli.console import LogOutput, say
from ccproxy.cli.exits import CONFIGURATION, DONE, TRY_LATER, UNAVAILABLE, UNSTABLE
from ccproxy.launcher.leftovers import kill_session
from ccproxy.launcher.programs import (
    PINNED_FILE,
    SNAPSHOT_FILE,
    Commands,
    Places,
    child_environment,
    control_access,
    installed_commands,
    program_sections,
    supervisor_configuration,
    worker_sections,
)
from ccproxy.launcher.readiness import wait_until_ready
from ccproxy.launcher.redis_server import find_server, render_config, socket_url
from ccproxy.launcher.rundir import AlreadyRunning, RunDirectory, end_orphaned_redis
from ccproxy.launcher.statedir import StateDirectory, stack_state_dir
from shared.runtime.errors import CCProxyError
from shared.runtime.version import VERSION
from shared.settings.problems import ConfigurationError
from shared.settings.snapshot import snapshot_text
from shared.settings.tree import Settings, foreign_addresses, refuse_open_bind, resolve_settings
from shared.settings.trust import pin_settings

BACKLOG = 2048
OPEN_FILES = 8192  # two for each of the streams one gateway carries, with room to spare
# Priorities of supervisord.conf beside the gateways'; each may take as long as a program may take
# to stop.
STOPPED_IN_TURN = 2
MARGIN_SECONDS = 2.0
LINE_LIMIT = 1024 * 1024
START_LOOK_SECONDS = 0.1
LOOK_SECONDS = 1.0  # between two looks at the run directory
AGAIN_SECONDS = 60.0  # a run directory that is lost twice within this time is lost for good

WhenReady = Callable[[str, Settings], Awaitable[int | None]]


class Unavailable(CCProxyError):
    """A resource that the stack needs is missing."""


async def stay(url: str, settings: Settings) -> None:
    """Return at once: the stack is ready and needs no further step."""
    del url, settings


@dataclass(frozen=True, slots=True)
class Stack:
    """The parts of a start."""

    settings: Settings
    places: Places
    url: str
    run: RunDirectory
    state: StateDirectory
    listening: socket.socket
    environment: dict[str, str]


def start_stack(
    *, commands: Commands | None = None, extra: Commands | None = None, when_ready: WhenReady = stay
) -> int:
    """Run the stack until asked to stop, and return the exit code.

    `commands` replaces the installed programs, `extra` adds some; `when_ready` is awaited once with
    the stack's address, and ends the stack if it returns a code.
    """
    try:
        pinned = pin_settings(Settings)
        settings, layers = resolve_settings(pinned)
        kept = {PINNED_FILE: pinned.as_json(), SNAPSHOT_FILE: snapshot_text(layers)}
        return _serve(settings, kept, commands or installed_commands(), extra or {}, when_ready)
    except ConfigurationError as error:
        say(error.message)
        return CONFIGURATION
    except AlreadyRunning as error:
        say(error.message)
        return TRY_LATER
    except Unavailable as error:
        say(error.message)
        return UNAVAILABLE


def _serve(
    settings: Settings,
    kept: Mapping[str, str],
    commands: Commands,
    extra: Commands,
    when_ready: WhenReady,
) -> int:
    """Run the stack with `settings`; `kept` are the files with the same settings for restarted
    services.
    """
    refuse_open_bind(settings)
    own_redis = None if settings.redis.url else find_server(settings.redis)
    server = settings.server
    port = server.port
    with RunDirectory(server.run_dir) as run, StateDirectory(stack_state_dir(server)) as state:
        _allow_open_files()
        last_loss = -AGAIN_SECONDS
        while True:
            with listen(server.host, port) as listening:
                # A port of 0 becomes a real one here, and a new start after a loss takes the same
                # one again.
                port = listening.getsockname()[1]
                places = _write_configuration(run, state, settings, port, own_redis, extra)
                # Written before supervisord starts: its programs read the settings from these
                # files, not from files that may have changed meanwhile.
                for name, text in kept.items():
                    run.write(name, text)
                environment = child_environment(settings, places, {**commands, **extra})
                run.write("control.json", control_access(environment))
                stack = Stack(
                    settings,
                    places,
                    local_url(server.host, port),
                    run,
                    state,
                    listening,
                    environment,
                )
                run.tell(stack.url)
                with _swept(places):
                    code = asyncio.run(_supervise(stack, when_ready))
            if code is not None:
                return code
            # Once is an accident, such as a cleaning of temporary files. Twice in a minute means
            # that something removes it, and a new start would only be removed again.
            if time.monotonic() - last_loss < AGAIN_SECONDS:
                say(f"The run directory {run.path} was removed again; CCProxy ends.")
                return UNSTABLE
            last_loss = time.monotonic()
            run.retake()


def _write_configuration(
    run: RunDirectory,
    state: StateDirectory,
    settings: Settings,
    port: int,
    own_redis: Path | None,
    extra: Commands,
) -> Places:
    """Write the files in the run directory that the programs read. Raises ConfigurationError when
    Redis' data cannot be moved.
    """
    run.write("supervisord.conf", supervisor_configuration())
    run.write("programs.conf", program_sections(extra))
    run.write("workers.conf", worker_sections(range(settings.sdk.workers)))
    try:
        # Before the configuration that names the new place: Redis must not begin empty beside data
        # of an earlier version.
        state.adopt(run.path)
    except OSError as error:
        raise ConfigurationError(
            f"{run.path / 'redis'} cannot be moved to {state.redis}: {error}."
        ) from error
    configuration, redis_socket = render_config(run.path, state.redis)
    run.write("redis.conf", configuration)
    redis_url = (
        settings.redis.url.get_secret_value() if settings.redis.url else socket_url(redis_socket)
    )
    return Places(run.path, redis_socket.parent, state.redis, port, redis_url, own_redis)


@contextlib.contextmanager
def _swept(places: Places) -> Iterator[None]:
    """Remove the remains of a killed supervisord: of an earlier stack before, of this
    stack after.
    """
    _sweep(places.sockets)
    try:
        yield
    finally:
        _sweep(places.sockets)
        if places.sockets != places.run_dir:
            with contextlib.suppress(OSError):  # somebody else's file keeps it
                places.sockets.rmdir()


def _sweep(sockets: Path) -> None:
    end_orphaned_redis(sockets / "redis.sock")
    for name in ("control.sock", "heartbeats.sock"):
        (sockets / name).unlink(missing_ok=True)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises Unavailable, or ConfigurationError for an address no
    process can listen on.
    """
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise ConfigurationError(
            f"SERVER__HOST: {host!r} is not an address of this machine."
        ) from error
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listening = socket.socket(family, kind, protocol)
    try:
        # Without it a restart would fail while connections of the stack before are still in
        # TIME_WAIT.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise _cannot_listen(host, port, error) from error
    return listening


def _cannot_listen(host: str, port: int, error: OSError) -> CCProxyError:
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"Port {port} on {host} is in use by another program; choose another with --port."
        )
    if error.errno == errno.EACCES:
        return ConfigurationError(
            f"Port {port} needs more rights than you have; choose one above 1023 with --port."
        )
    return ConfigurationError(
        f"Nothing can listen on {host} port {port}: {error.strerror}. See --host and --port."
    )


def local_host(host: str) -> str:
    """Return the host by which this machine reaches a listener on `host`."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def local_url(host: str, port: int) -> str:
    """Return the address by which this machine reaches a listener on `host` and `port`."""
    reached = local_host(host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _supervise(stack: Stack, when_ready: WhenReady) -> int | None:
    """Run supervisord from start to end. Return the exit code; None if the run directory was lost
    and the stack must be started again in a new one.
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
    output = asyncio.create_task(_copy_output(supervisord))
    stopping = asyncio.create_task(asked.wait())
    ready = asyncio.create_task(_announce(stack, when_ready))
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
        patience = gateway_seconds + STOPPED_IN_TURN * stop_seconds + MARGIN_SECONDS
        await _stop(supervisord, ended, patience)
        # Programs outlive a supervisord that was killed. Their common session is what is left to
        # find them by.
        await _kill_leftovers(supervisord.pid, output, stop_seconds + MARGIN_SECONDS)
    # it may have been asked to stop meanwhile
    return DONE if code is None and asked.is_set() else code


def refuse_connections(listening: socket.socket) -> None:
    """End listening in every process that has the socket: clients are refused at once, and none
    waits in an unserved queue.
    """
    # Only Linux does so; elsewhere clients wait for the end of this process
    with contextlib.suppress(OSError):
        listening.shutdown(socket.SHUT_RDWR)


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
    stack: Stack, ended: Task[int], stopping: Task[Any], ready: Task[int | None], lost: Task[None]
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


async def _stop(supervisord: Process, ended: Task[int], patience: float) -> None:
    """Ask supervisord to stop all programs in order; kill supervisord after `patience` seconds."""
    if not ended.done():
        supervisord.terminate()
        await asyncio.wait({ended}, timeout=patience)
    if not ended.done():
        supervisord.kill()  # its programs notice, and end by themselves
        await ended


async def _kill_leftovers(session: int, output: Task[None], patience: float) -> None:
    """Wait until every program has closed the output; kill the remaining programs after `patience`
    seconds.
    """
    # Every program writes into the same pipe, so its end tells that the last of them has gone.
    await asyncio.wait({output}, timeout=patience)
    if not output.done():
        killed = await asyncio.to_thread(kill_session, session)
        say(
            "Killed what did not stop by itself: "
            f"{', '.join(map(str, killed)) or 'nothing was found'}."
        )
    # a reader that is gone must not keep the launcher
    await asyncio.wait({output}, timeout=patience)
    output.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await output


async def _copy_output(supervisord: Process) -> None:
    """Copy the logs of the programs until the last program has closed the output."""
    assert supervisord.stdout is not None
    log = LogOutput(sys.stdout.fileno(), for_a_person=sys.stdout.isatty())
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


def notes(settings: Settings) -> Iterator[str]:
    """Yield the owner's notes: the receivers of credentials, the people who may approve."""
    for name, url in foreign_addresses(settings):
        yield (
            f"  note     {name}: your credentials go to {url}, which is not the provider's own "
            "address"
        )
    security = settings.security
    if settings.sdk.workers and not (security.auth_token or security.tokens):
        yield (
            "  note     permissions: without SECURITY__AUTH_TOKEN any program of this machine can "
            "answer permission requests, a command you have allowed included; `ccproxy "
            "generate-token --save` makes a token"
        )


async def _announce(stack: Stack, when_ready: WhenReady) -> int | None:
    settings = stack.settings
    health = await wait_until_ready(local_host(settings.server.host), stack.places.port, settings)
    but = f", but without {missing}" if (missing := health.failing()) else ""
    say(f"CCProxy {VERSION} is ready at {stack.url}{but}")
    say(f"  Claude           {stack.url}/api    through the API")
    say(f"                   {stack.url}/sdk    through Claude Code, with its tools")
    say(f"  Codex            {stack.url}/codex")
    say(f"  Dashboard        {stack.url}/dashboard")
    for line in (*health.lines(), *notes(settings)):
        say(line)
    return await when_ready(stack.url, settings)
