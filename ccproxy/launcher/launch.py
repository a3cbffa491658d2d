"""Start the stack: its settings, its run directory, its socket, and supervisord over them.

The launcher holds the run directory's lock and the listening socket, and outlives supervisord
(`supervised`). It ends with a code of `ccproxy/cli/exits.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ccproxy.cli.console import say
from ccproxy.cli.exits import CONFIGURATION, TRY_LATER, UNAVAILABLE, UNSTABLE
from ccproxy.launcher.announcement import announce
from ccproxy.launcher.listening import Unavailable, allow_open_files, listen, local_url
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
from ccproxy.launcher.redis_server import find_server, render_config, socket_url
from ccproxy.launcher.rundir import AlreadyRunning, RunDirectory, end_orphaned_redis
from ccproxy.launcher.stacks import Kind, RunningStack, keep_listed, registry_dir, start_time
from ccproxy.launcher.statedir import StateDirectory
from ccproxy.launcher.supervised import Stack, supervise
from shared.settings.problems import ConfigurationError
from shared.settings.servers import stack_state_dir
from shared.settings.snapshot import snapshot_text
from shared.settings.tree import Settings, refuse_open_bind, resolve_settings
from shared.settings.trust import pin_settings

AGAIN_SECONDS = 60.0  # a run directory that is lost twice within this time is lost for good

WhenReady = Callable[[str, Settings], Awaitable[int | None]]


async def stay(url: str, settings: Settings) -> None:
    """Return at once: the stack is ready and needs no further step."""
    del url, settings


@dataclass(frozen=True, slots=True)
class Listing:
    """The entry of a stack in the registry of running stacks: its kind, and the registry's
    folder.
    """

    kind: Kind = "serve"
    folder: Path = field(default_factory=registry_dir)


def start_stack(
    *,
    commands: Commands | None = None,
    extra: Commands | None = None,
    when_ready: WhenReady = stay,
    listing: Listing | None = None,
) -> int:
    """Run the stack until asked to stop, and return the exit code.

    `commands` replaces the installed programs, `extra` adds some; `when_ready` is awaited once with
    the stack's address, and ends the stack if it returns a code.
    """
    try:
        pinned = pin_settings(Settings)
        settings, layers = resolve_settings(pinned)
        kept = {PINNED_FILE: pinned.as_json(), SNAPSHOT_FILE: snapshot_text(layers)}
        started = commands or installed_commands()
        return _serve(settings, kept, started, extra or {}, when_ready, listing or Listing())
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
    listing: Listing,
) -> int:
    """Run the stack with `settings`; `kept` are the files with the same settings for restarted
    services.
    """
    refuse_open_bind(settings)
    own_redis = None if settings.redis.url else find_server(settings.redis)
    server = settings.server
    port = server.port
    with RunDirectory(server.run_dir) as run, StateDirectory(stack_state_dir(server)) as state:
        allow_open_files()
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
                token = secrets.token_urlsafe(32)
                environment = child_environment(settings, places, {**commands, **extra}, token)
                run.write("control.json", control_access(environment))
                stack = Stack(
                    settings,
                    places,
                    local_url(server.host, port),
                    run,
                    state,
                    listening,
                    environment,
                    token,
                )
                run.tell(stack.url)
                with _swept(places), _listed(stack, listing):
                    ready = partial(_announced, stack, listing.kind, when_ready)
                    code = asyncio.run(supervise(stack, ready))
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
def _listed(stack: Stack, listing: Listing) -> Iterator[None]:
    """Keep `stack` in the registry of running stacks, for commands to find."""
    pid = os.getpid()
    security = stack.settings.security
    entry = RunningStack(
        url=stack.url,
        pid=pid,
        started=start_time(pid),
        run_dir=str(stack.run.path),
        kind=listing.kind,
        token=stack.token,
        tokens_file=str(security.tokens_file.expanduser().absolute()),
    )
    with keep_listed(entry, listing.folder) as failure:
        if failure is not None:
            say(
                f"  note     {listing.folder} cannot be written ({failure.strerror}), so commands "
                "find this stack only with --url."
            )
        yield


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


async def _announced(stack: Stack, kind: Kind, when_ready: WhenReady) -> int | None:
    await announce(stack.settings, stack.url, stack.places.port, kind)
    return await when_ready(stack.url, stack.settings)
