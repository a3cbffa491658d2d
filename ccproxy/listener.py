"""The stack's ear on supervisord: what to do when a program dies, or cannot stay up.

A death is told to the bus, so that nobody waits for a lease to run out. A program that keeps dying rests for a minute
and is tried again, while the rest goes on without it. Only when the last process of a critical service keeps dying does
the stack end, with a sentence in RUN/fatal for the launcher.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
import xmlrpc.client
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from supervisor import childutils

from ccproxy.programs import CRITICAL
from shared.bus import Bus
from shared.errors import CCProxyError
from shared.log import configure_log, get_log
from shared.settings import load_settings

SHORT_LIFE_SECONDS = 10.0
SHORT_LIVES = 5  # supervisord itself counts only those that die within `startsecs`; a slow import outlives that
REPORT_SECONDS = 2.0
LIVING = frozenset({"STARTING", "RUNNING", "BACKOFF"})  # one in BACKOFF is started again in a moment


def service_of(process: str) -> str:
    """The service a supervised process belongs to: `sdk_worker_00` → `sdk_worker`."""
    return re.sub(r"_\d+$", "", process)


class Watch:
    """What is known of the programs. Its doors: `report` a death, `end_stack`, and supervisord's own `control`."""

    def __init__(
        self, *, report: Callable[[str, int | None], None], end_stack: Callable[[str], None], control: Any
    ) -> None:
        self._report = report
        self._end_stack = end_stack
        self._control = control
        self._running_since: dict[str, float] = {}
        self._short_lives: Counter[str] = Counter()
        self._resting: set[str] = set()

    def handle(self, event: str, facts: dict[str, str], now: float) -> None:
        """Act on one event; `facts` are supervisord's own words for it, `now` is monotonic seconds."""
        if event.startswith("TICK"):
            self._try_again()
            return
        name = f"{facts['groupname']}:{facts['processname']}"
        if event == "PROCESS_STATE_RUNNING":
            self._running_since[name] = now
            return
        if event == "PROCESS_STATE_FATAL":
            self._give_up(name, "did not start")
        else:
            self._report(facts["processname"], int(facts["pid"]) if "pid" in facts else None)
            if event == "PROCESS_STATE_EXITED" and self._lived_shortly_again(name, now):
                self._give_up(name, f"ended {SHORT_LIVES} times, each time soon after its start")

    def _lived_shortly_again(self, name: str, now: float) -> bool:
        if now - self._running_since.get(name, now) < SHORT_LIFE_SECONDS:
            self._short_lives[name] += 1
        else:
            self._short_lives[name] = 0
        return self._short_lives[name] >= SHORT_LIVES

    def _give_up(self, name: str, why: str) -> None:
        self._short_lives[name] = 0
        process = name.partition(":")[2]
        service = service_of(process)
        if service in CRITICAL and not self._has_another(service, process):
            self._end_stack(f"{process} {why}.")
            return
        get_log().error("service_down", program=process, why=why, next_attempt="within a minute")
        self._resting.add(name)
        self._ask("stopProcess", name)

    def _has_another(self, service: str, process: str) -> bool:
        """Return True if another process of `service` runs or is being started. supervisord is asked, because this
        listener may have been started after those processes."""
        try:
            listed = self._control.supervisor.getAllProcessInfo()
        except (xmlrpc.client.Error, OSError):
            return False
        return any(
            facts["name"] != process and service_of(facts["name"]) == service and facts["statename"] in LIVING
            for facts in listed
        )

    def _try_again(self) -> None:
        while self._resting:
            self._ask("startProcess", self._resting.pop())

    def _ask(self, verb: str, name: str) -> None:
        try:
            getattr(self._control.supervisor, verb)(name, False)
        except (xmlrpc.client.Error, OSError) as error:  # a fault says it is stopped (or started) already
            get_log().debug("control_refused", verb=verb, program=name, error=str(error))


def end_stack(run_dir: Path, sentence: str) -> None:
    """Leave the launcher its sentence and stop supervisord, our parent."""
    get_log().error("stack_ends", why=sentence)
    (run_dir / "fatal").write_text(sentence)
    os.kill(os.getppid(), signal.SIGTERM)


def report_exit(redis_url: str, process: str, pid: int | None) -> None:
    """Tell the bus at once. Redis may be the one that died; then leases run out by themselves."""
    if process != "redis":
        with contextlib.suppress(CCProxyError, TimeoutError):
            asyncio.run(_report_exit(redis_url, process, pid))


async def _report_exit(redis_url: str, process: str, pid: int | None) -> None:
    async with asyncio.timeout(REPORT_SECONDS), Bus(redis_url, service="listener", instance="listener") as bus:
        await bus.report_exit(service_of(process), process, pid=pid)


def main() -> None:
    """Answer supervisord's events on stdin and stdout, one at a time, until it ends."""
    settings = load_settings()
    server = settings.server
    configure_log(level=server.log_level, style=server.log_format, service="listener", instance="listener")
    redis_url = settings.redis.url.get_secret_value() if settings.redis.url else ""
    watch = Watch(
        report=partial(report_exit, redis_url),
        end_stack=partial(end_stack, server.run_dir),
        control=childutils.getRPCInterface(os.environ),
    )
    while True:
        header, payload = childutils.listener.wait(sys.stdin, sys.stdout)
        watch.handle(header["eventname"], childutils.get_headers(payload), time.monotonic())
        childutils.listener.ok(sys.stdout)


if __name__ == "__main__":
    main()
