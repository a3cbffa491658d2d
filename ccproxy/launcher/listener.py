"""The stack's ear on supervisord: what to do when a program dies, or cannot stay up.

A death is told to the bus, so that nobody waits for a lease to run out. A program that keeps dying
rests for a minute and is tried again, while the rest goes on without it; a Redis that cannot start
is started once more without its data, which is set aside. Only when the last process of a critical
service keeps dying does the stack end, with a sentence in RUN/fatal for the launcher.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from supervisor import childutils

from ccproxy.launcher.redis_data import REDIS_DATA, RedisData
from shared.runtime.log import LogFormat, configure_log, get_log

SHORT_LIFE_SECONDS = 10.0
# supervisord itself counts only those that die within `startsecs`; a slow import outlives that
SHORT_LIVES = 5
# without it nothing answers; without another service, the rest still does
CRITICAL = frozenset({"gateway"})
REDIS = "redis:redis"  # supervisord's name for the program
REPORT = (sys.executable, "-P", "-m", "ccproxy.launcher.exit_report")
# one in BACKOFF is started again in a moment
LIVING = frozenset({"STARTING", "RUNNING", "BACKOFF"})


def service_of(process: str) -> str:
    """The service a supervised process belongs to: `sdk_worker_00` → `sdk_worker`."""
    return re.sub(r"_\d+$", "", process)


class HeartbeatWatch:
    """The states of the programs. A Watch can `report` a death, `end_stack`, and ask supervisord
    (`control`).
    """

    def __init__(
        self,
        *,
        report: Callable[[str, int | None], None],
        end_stack: Callable[[str], None],
        control: Any,
        redis_data: RedisData | None = None,
    ) -> None:
        """`redis_data` is the data of our own Redis, where there is one."""
        self._report = report
        self._end_stack = end_stack
        self._control = control
        self._redis_data = redis_data
        self._running_since: dict[str, float] = {}
        self._short_lives: Counter[str] = Counter()
        self._resting: set[str] = set()

    def handle(self, event: str, facts: dict[str, str], now: float) -> None:
        """Act on an event; `facts` are supervisord's own words, `now` is monotonic seconds."""
        if event.startswith("TICK"):
            # A Redis that has run for a while is fine with its new directory; the old one stays
            # aside for good.
            if self._redis_data and now - self._running_since.get(REDIS, now) > SHORT_LIFE_SECONDS:
                self._redis_data.keep()
            self._try_again()
            return
        name = f"{facts['groupname']}:{facts['processname']}"
        if event == "PROCESS_STATE_RUNNING":
            self._running_since[name] = now
            return
        # Any other event is an end of some kind.
        began = self._running_since.pop(name, now)
        if event == "PROCESS_STATE_FATAL":
            # FATAL: supervisord has tried several times. For Redis its data may be the reason, so
            # it is tried without them once.
            if not (name == REDIS and self._start_without_data("did not start")):
                self._give_up(name, "did not start")
            return
        # Told before anything is done about it: callers of the dead process wait.
        self._report(facts["processname"], int(facts["pid"]) if "pid" in facts else None)
        if event != "PROCESS_STATE_EXITED":
            return
        if name == REDIS and now - began > SHORT_LIFE_SECONDS and self._redis_data:
            self._redis_data.keep()
        if self._lived_shortly_again(name, now - began):
            why = f"ended {SHORT_LIVES} times, each time soon after its start"
            # This Redis did start, so it has read its files. Only its own words can blame them now;
            # a guess would cost the data.
            blamed = name == REDIS and self._redis_data is not None and self._redis_data.is_blamed()
            if not (blamed and self._start_without_data(why)):
                self._give_up(name, why)

    def _lived_shortly_again(self, name: str, seconds: float) -> bool:
        if seconds < SHORT_LIFE_SECONDS:
            self._short_lives[name] += 1
        else:
            self._short_lives[name] = 0
        return self._short_lives[name] >= SHORT_LIVES

    def _give_up(self, name: str, why: str) -> None:
        self._short_lives[name] = 0
        process = name.partition(":")[2]
        service = service_of(process)
        # A stack without its last gateway answers nobody; without any other service the rest still
        # works.
        if service in CRITICAL and not self._has_another(service, process):
            self._end_stack(f"{process} {why}.")
            return
        get_log().error("service_down", program=process, why=why, next_attempt="within a minute")
        self._resting.add(name)
        self._ask("stopProcess", name)

    def _start_without_data(self, why: str) -> bool:
        """Set the data of Redis aside and start Redis with none. Return False if there is nothing
        (more) to try.
        """
        data = self._redis_data
        if data is None:
            return False
        # Waited for: the directory must not be renamed under a server that writes into it.
        self._ask("stopProcess", REDIS, wait=True)
        try:
            if data.is_set_aside:
                # The start without data failed as well, so the data were not the reason.
                data.put_back()
                get_log().error(
                    "redis_data_put_back", why="Redis does not start without its data either"
                )
                return False
            aside = data.set_aside()
        except OSError as error:
            get_log().error("redis_data_stays", why=str(error))
            return False
        if aside is None:
            return False
        self._short_lives[REDIS] = 0
        get_log().error(
            "redis_data_set_aside",
            why=f"redis {why}; its own words are in redis.log in the run directory",
            kept_in=str(aside),
            missing="open permission requests, stored responses, records that were not yet in "
            "DuckDB",
        )
        self._ask("startProcess", REDIS)
        return True

    def _has_another(self, service: str, process: str) -> bool:
        """Return True if a second process of `service` runs or is being started.

        supervisord is asked, because this listener may have been started after those processes.
        """
        try:
            listed = self._control.supervisor.getAllProcessInfo()
        except (xmlrpc.client.Error, OSError):
            return False
        return any(
            facts["name"] != process
            and service_of(facts["name"]) == service
            and facts["statename"] in LIVING
            for facts in listed
        )

    def _try_again(self) -> None:
        while self._resting:
            self._ask("startProcess", self._resting.pop())

    def _ask(self, verb: str, name: str, *, wait: bool = False) -> None:
        try:
            getattr(self._control.supervisor, verb)(name, wait)
        except (
            xmlrpc.client.Error,
            OSError,
        ) as error:  # a fault says it is stopped (or started) already
            get_log().debug("control_refused", verb=verb, program=name, error=str(error))


def end_stack(run_dir: Path, sentence: str) -> None:
    """Leave a sentence for the launcher and stop supervisord, our parent."""
    get_log().error("stack_ends", why=sentence)
    (run_dir / "fatal").write_text(sentence)
    os.kill(os.getppid(), signal.SIGTERM)


class DeathReports:
    """The reports of deaths to the bus, every report by a separate program, without a wait.

    Deaths are rare, and the library of the bus takes more memory than the rest of this process. A
    report ends by itself within seconds; without it leases run out.
    """

    def __init__(self, command: Sequence[str] = REPORT) -> None:
        self._command = command
        self._running: list[subprocess.Popen[bytes]] = []

    def send(self, process: str, pid: int | None) -> None:
        """Begin the report of a death. The death of Redis cannot be reported to Redis."""
        self._running = [report for report in self._running if report.poll() is None]
        if process == "redis":
            return
        arguments = [service_of(process), process, *([str(pid)] if pid is not None else [])]
        try:
            # stdin and stdout of this process speak supervisord's protocol: a report has neither.
            report = subprocess.Popen(  # noqa: S603
                [*self._command, *arguments], stdin=subprocess.DEVNULL, stdout=sys.stderr
            )
        except OSError as error:
            get_log().warning("death_not_reported", program=process, error=str(error))
        else:
            self._running.append(report)

    def wait(self, seconds: float) -> None:
        """Wait until all begun reports are done, at most `seconds` per report."""
        for report in self._running:
            report.wait(seconds)


def main() -> None:
    """Answer supervisord's events on stdin and stdout, in order, until the end of stdin."""
    # The launcher has read the settings: this process, which is there for rare events, loads none
    # of them.
    style = cast("LogFormat", os.environ["CCPROXY_LOG_FORMAT"])
    configure_log(
        level=os.environ["CCPROXY_LOG_LEVEL"], style=style, service="listener", instance="listener"
    )
    run_dir = Path(os.environ["SERVER__RUN_DIR"])
    data = os.environ.get(REDIS_DATA)
    watch = HeartbeatWatch(
        report=DeathReports().send,
        end_stack=partial(end_stack, run_dir),
        control=childutils.getRPCInterface(os.environ),
        redis_data=RedisData(Path(data), run_dir / "redis.log") if data else None,
    )
    while True:
        header, payload = childutils.listener.wait(sys.stdin, sys.stdout)
        watch.handle(header["eventname"], childutils.get_headers(payload), time.monotonic())
        # supervisord sends the next event only after this answer, so events are handled in order.
        childutils.listener.ok(sys.stdout)


if __name__ == "__main__":
    main()
