"""The SDK worker as a process. Starting waits for no program: without `claude` it serves, and says
what to install.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path

from sdk_worker.asking import Asker, AskPermission
from sdk_worker.claude.driver import Conversation, Driver, ProgramFile, drivers
from sdk_worker.claude.launch import (
    Binding,
    Launch,
    asks_nobody,
    billing_of,
    bind_process,
    command,
    environment,
    login_state,
    refuse_what_cannot_start,
    transcripts_folder,
)
from sdk_worker.claude.pool import Pool
from sdk_worker.claude.program import Program
from sdk_worker.custom_tools import CustomTools, ResultDesk
from sdk_worker.directories import own_directory
from sdk_worker.reply import LeftReplies
from sdk_worker.sessions import Sessions
from sdk_worker.transcripts import Transcripts
from sdk_worker.worker import TurnTimeouts, Worker
from shared.bus import Bus, Delivery
from shared.bus.bounded import Scripts
from shared.bus.channels import WORKER_DRAIN, CustomTool, validated
from shared.bus.serving import serve_each
from shared.bus.session_store import open_session_store
from shared.permissions.asking import ask_permission_service
from shared.permissions.fair_use import InputsInFlight
from shared.permissions.protected import ProtectedPaths
from shared.runtime.metric_snapshots import publish_snapshots
from shared.runtime.metrics import Metrics, PoolMetrics
from shared.runtime.process import DRAINED_EXIT, instance_name, run_service
from shared.runtime.tracing import open_tracer
from shared.runtime.version import VERSION
from shared.settings.places import default_workspace
from shared.settings.tree import Settings, load_settings

DESCRIBE_SECONDS = 0.2  # the bus tells it on once a second, and it should not be old by then
LOOK_EVERY = 50  # of these; to ask a program its version starts it
# A prompt expires, and the program hears of the end, before a turn counts as silent.
THINKING_MARGIN_SECONDS = 60.0


def main() -> None:
    """Run the worker. With `--describe`, print the chosen `claude`, or the problem with `claude`,
    as JSON.
    """
    if sys.argv[1:] == ["--describe"]:
        found = asyncio.run(ProgramFile(load_settings().claude.cli_path).describe())
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        run_service("sdk_worker", run_worker)


async def run_worker(settings: Settings, stop: asyncio.Event) -> int | None:
    """Serve until `stop`, or after SIGUSR1 or a call of WORKER_DRAIN until the running turns are
    done; then end every process started by the worker.
    """
    drain = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, drain.set)
    url = settings.redis.url.get_secret_value() if settings.redis.url else ""
    instance = instance_name()
    program_file = ProgramFile(settings.claude.cli_path)
    bus = Bus(url, service="sdk_worker", instance=instance)
    driver = drivers()[0]
    results = ResultDesk(bus.address, settings.security.confirmation_timeout_seconds or None)
    pool = open_pool(
        settings,
        program_file,
        driver,
        ask=partial(ask_permission_service, bus, InputsInFlight()),
        results=results,
    )
    sdk = settings.sdk
    options = settings.claude.code_options
    bus.describe(host=socket.gethostname(), labels=settings.sdk.labels, ccproxy_version=VERSION)
    sessions = Sessions(
        pool,
        bus,
        options,
        limit=sdk.max_sessions,
        idle=sdk.session_idle_seconds,
        timeout=sdk.first_byte_timeout_seconds,
        kept_by=bus.address,
        transcripts=open_transcripts(settings, bus),
    )
    traced = open_tracer(settings.observability, service="sdk_worker", instance=instance)
    async with traced as tracer, bus:
        worker = Worker(
            pool,
            sessions,
            LeftReplies(bus, bus.address, seconds=sdk.left_turn_seconds),
            results,
            name=instance,
            mode=settings.claude.sdk_message_mode,
            pretty=settings.claude.pretty_format,
            timeouts=timeouts(settings),
            billed_to=billing_of(settings.claude),
            roots=sdk.working_roots,
            labels=sdk.labels,
            tracer=tracer,
        )
        metrics = Metrics()
        showing = describe_worker(
            bus, pool, sessions, program_file, driver.name, PoolMetrics(metrics), drain
        )

        async def finish(_: Delivery) -> None:
            drain.set()

        asked = serve_each(bus, WORKER_DRAIN.at(bus.address), finish, slots=1, stop=stop)
        beside = [
            asyncio.create_task(asked),
            asyncio.create_task(pool.keep_filled()),
            asyncio.create_task(showing),
            asyncio.create_task(
                publish_snapshots(
                    bus, metrics, service="sdk_worker", instance=instance, stop=asyncio.Event()
                )
            ),
        ]
        try:
            await worker.serve(bus, slots=sdk.max_turns_at_once, stop=stop, drain=drain)
        finally:
            # The filling ends first: behind the draining it would start further processes.
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            sessions.forget_all()
            await pool.drain()
    return None if stop.is_set() else DRAINED_EXIT


def timeouts(settings: Settings) -> TurnTimeouts:
    """Return how long a turn may be silent. While a person is asked, they get the time the settings
    promise.
    """
    thinking = settings.security.confirmation_timeout_seconds
    return TurnTimeouts(
        settings.sdk.first_byte_timeout_seconds,
        settings.sdk.idle_timeout_seconds,
        settings.server.ping_interval_seconds,
        thinking + THINKING_MARGIN_SECONDS if thinking else None,
    )


def open_transcripts(settings: Settings, bus: Scripts) -> Transcripts:
    """Return the transcripts of this process: with copies in Redis if the settings, or an address
    of Redis beyond this machine, ask for them.
    """
    shared = settings.sdk.share_transcripts
    if shared is None:
        shared = settings.redis.is_elsewhere()
    return Transcripts(
        open_session_store(bus, settings.sdk) if shared else None,
        partial(transcripts_folder, settings.claude, os.environ),
    )


def open_pool(
    settings: Settings,
    program_file: ProgramFile,
    driver: Driver,
    *,
    ask: AskPermission | None,
    results: ResultDesk | None = None,
) -> Pool[Conversation]:
    """Return the pool of this process. `ask` decides on every tool call; None: Claude Code alone
    decides. Calls of custom tools wait at the desk `results`; None: no process has such tools.
    """
    claude = settings.claude
    options = settings.claude.code_options
    protected = ProtectedPaths.of(settings, Path.cwd(), Path.home())

    async def start(launch: Launch) -> Conversation:
        # Made anew for every start: the login file in use may be another one by now.
        env = environment(claude, os.environ)
        refuse_what_cannot_start(launch, options, env, as_root=os.geteuid() == 0)
        cwd = launch.cwd or str(
            options.cwd.resolve() if options.cwd else own_directory(default_workspace())
        )
        asker = (
            Asker(ask, cwd, protected, bypass=asks_nobody(claude))
            if ask and launch.own_tools
            else None
        )
        asks = asker is not None and claude.builtin_permissions
        line = command(await program_file.path(), launch, options, asks=asks)
        program = Program(line, env=env, cwd=cwd)
        await program.spawn()
        custom_tools = (
            CustomTools(validated(list[CustomTool], launch.custom_tools), results)
            if results and launch.custom_tools
            else None
        )
        return Conversation(driver, program, asker, custom_tools)

    async def tell(conversation: Conversation, binding: Binding) -> None:
        await bind_process(conversation, binding, options)

    size = settings.sdk.pool_size if settings.sdk.enable_pool else 0
    return Pool(
        start,
        tell,
        size=size,
        launch=Launch(),
        login_state=partial(login_state, claude, os.environ),
        warm_at_start=settings.sdk.warm == "start",
    )


async def describe_worker(
    bus: Bus,
    pool: Pool[Conversation],
    sessions: Sessions,
    program_file: ProgramFile,
    driver: str,
    metrics: PoolMetrics,
    drain: asyncio.Event,
) -> None:
    """Keep `/health`, `/sdk/status` and `/metrics` told, until cancelled."""
    for number in itertools.count():
        if number % LOOK_EVERY == 0:
            found = await program_file.describe()
        counts = pool.counts()
        # The process of a session between two turns was taken from the pool, and is idle all the
        # same.
        counts["busy"] -= sessions.kept()
        memory = sum(conversation.program.resident_bytes() for conversation in pool.owned)
        metrics.show(counts | {"memory": memory})
        facts = counts | {"sessions": sessions.kept(), "memory_bytes": memory, "driver": driver}
        facts["draining"] = drain.is_set()
        bus.describe(**facts, **found | {"problem": found["problem"] or pool.problem})
        await asyncio.sleep(DESCRIBE_SECONDS)
