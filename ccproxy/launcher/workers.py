"""`ccproxy workers`: the SDK workers of the running stack on all its machines, and more or fewer of
those of this machine while it runs.

Each worker is a program of its own in RUN/workers.conf, so supervisord can add and remove one
without touching another. A removed worker takes no new turn, finishes those it has and ends; only
then is it forgotten.
"""

from __future__ import annotations

import json
import time
import xmlrpc.client
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from supervisor.xmlrpc import Faults, SupervisorTransport

from ccproxy.cli.command_group import AsJson, command_group
from ccproxy.cli.console import say
from ccproxy.cli.found_stack import find_stack
from ccproxy.cli.gateway import NotRunning, Unanswered, checked, connection_to
from ccproxy.cli.invitations import print_invitation, revoke_invited
from ccproxy.cli.output import show_json, show_table
from ccproxy.cli.stack_options import with_stack
from ccproxy.cli.worker_table import COLUMNS, queue_lines, worker_cells, worker_rows
from ccproxy.launcher.programs import worker_numbers, worker_sections
from shared.runtime.errors import CCProxyError
from shared.runtime.files import replace_private
from shared.runtime.times import read_span
from shared.settings.tree import load_settings

POLL_SECONDS = 0.1
QUIET_SECONDS = 1.0
NO_SUPERVISOR = (
    "CCProxy is not running here; start it with `ccproxy serve`. In containers, SDK_WORKERS sets "
    "the number of workers."
)
ALIVE = {"STARTING", "RUNNING", "STOPPING", "BACKOFF"}

Facts = dict[str, Any]

app = command_group("workers", no_args_is_help=False)


class Control:
    """supervisord, on the socket in the run directory. Raises NotRunning."""

    def __init__(self, run_dir: Path) -> None:
        self._configuration = run_dir / "workers.conf"
        try:
            access = json.loads((run_dir / "control.json").read_text())
        except (OSError, ValueError):
            raise NotRunning(NO_SUPERVISOR) from None
        transport = SupervisorTransport(
            access["username"], access["password"], f"unix://{access['socket']}"
        )
        self.asked: set[int] = set()  # process ids
        self._proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport)

    def _ask(self, verb: str, *arguments: Any, unless: int | None = None) -> Any:
        """Return supervisord's answer; None for the fault `unless`: the state was
        reached before.
        """
        try:
            return getattr(self._proxy.supervisor, verb)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == unless:
                return None
            raise CCProxyError(f"supervisord refuses {verb}: {fault.faultString}.") from fault
        except (OSError, HTTPException) as error:
            raise NotRunning(NO_SUPERVISOR) from error

    def workers(self) -> list[Facts]:
        """Return supervisord's facts about the workers, finishing workers included: `name`,
        `statename`, `pid`, `start`, `now`.
        """
        return [
            facts
            for facts in self._ask("getAllProcessInfo")
            if facts["group"].startswith("sdk_worker_")
        ]

    def scale(self, count: int) -> list[str]:
        """Run `count` workers. Return the names of the workers with turns to finish first."""
        wanted = worker_numbers(self._configuration.read_text())
        taken = {int(facts["group"].removeprefix("sdk_worker_")) for facts in self.workers()}
        # A worker that is finishing still has its number; a new one of the same name would be taken
        # for it.
        free = (number for number in range(len(taken) + count) if number not in taken)
        kept = wanted[:count] + [next(free) for _ in range(count - len(wanted))]
        replace_private(self._configuration, worker_sections(kept), durable=False)
        # supervisord only compares here. New groups are started now, removed ones when their turns
        # are done.
        [[added, _, removed]] = self._ask("reloadConfig")
        for name in added:
            self._ask("addProcessGroup", name, unless=Faults.ALREADY_ADDED)
        return [name for name in removed if name.startswith("sdk_worker_")]

    def dismiss(self, leaving: list[str]) -> list[str]:
        """Ask every worker of `leaving` to finish, and forget the finished workers. Return the
        remaining workers.

        The call is safe to repeat. supervisord takes an end within the first second for a failed
        start, so a new worker is asked after it.
        """
        alive = {facts["group"]: facts for facts in self.workers() if facts["statename"] in ALIVE}
        for name in leaving:
            # Forgotten only when it has ended: supervisord removes no group that runs.
            if name not in alive:
                self._ask("removeProcessGroup", name, unless=Faults.BAD_NAME)
            elif alive[name]["statename"] == "RUNNING" and alive[name]["pid"] not in self.asked:
                self._ask("signalProcess", f"{name}:{name}", "USR1", unless=Faults.NOT_RUNNING)
                self.asked.add(alive[name]["pid"])
        return [name for name in leaving if name in alive]


def run_dir_in_use() -> Path:
    """Return the run directory of the stack to speak to. Raises NotRunning for a
    stack of another machine, and SeveralStacks.
    """
    settings = load_settings()
    stack = find_stack(settings)
    if stack.is_elsewhere:
        raise NotRunning(
            f"The stack at {stack.url} was not started on this machine by this user; its workers "
            "are scaled where it runs."
        )
    return stack.run_dir or settings.server.run_dir


@app.callback(invoke_without_command=True)
def workers_group(context: typer.Context) -> None:
    """The SDK workers of the running stack, on all its machines."""
    if context.invoked_subcommand is None:
        list_workers(as_json=False)


@app.command("list")
@with_stack
def list_workers(
    as_json: AsJson = False,
) -> None:
    """List the workers of all machines, with labels and state."""
    stack = find_stack(load_settings())
    started = [] if stack.is_elsewhere else local_workers()
    try:
        with connection_to(stack) as client:
            status = checked(client.get("/sdk/status")).json()
    except Unanswered as error:
        # supervisord still knows the workers of this machine.
        if not started:
            raise
        say(f"Only the workers of this machine: {error.message}")
        status = {}
    found = worker_rows(started, status.get("workers", []), time.time())
    if as_json:
        show_json(found)
        return
    show_table(COLUMNS, map(worker_cells, found), titled=True)
    for line in queue_lines(status):
        say(line)


def local_workers() -> list[Facts]:
    """Return the workers that supervisord runs on this machine; none without a stack here. Raises
    SeveralStacks.
    """
    try:
        control = Control(run_dir_in_use())
    except NotRunning:
        return []
    return control.workers()


@app.command()
@with_stack
def scale(
    count: Annotated[int, typer.Argument(min=1, max=32, help="Number of workers.")],
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for removed workers to finish.")
    ] = True,
) -> None:
    """Change the number of SDK workers now.

    The number is not saved: the next start uses SDK__WORKERS.
    """
    control = Control(run_dir_in_use())
    dismiss(control, control.scale(count), wait=wait)
    say(
        f"{count} worker{'s' if count > 1 else ''}, until the next start; SDK__WORKERS={count} "
        "keeps it so."
    )


@app.command("drain")
@with_stack
def drain_worker(
    name: Annotated[str, typer.Argument(help="The worker, as `ccproxy workers` calls it.")],
) -> None:
    """Let a worker of any machine finish its turns and end.

    Its conversations go on at others. On the machine of the stack the next start runs it again.
    """
    with connection_to(find_stack(load_settings())) as client:
        checked(client.post(f"/sdk/workers/{quote(name, safe='')}/drain", json={}))
    say(f"{name} takes no new turn, and ends when those that it has are done.")


@app.command("invite")
def invite_from_elsewhere(
    name: Annotated[
        str | None, typer.Option("--name", help="The worker's name; default: a new one.")
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", help="How long it holds: 10m, 1h, at most 7d.")
    ] = "1h",
    address: Annotated[
        str | None,
        typer.Option(
            "--address", help="rediss:// address of Redis for that machine; default: REDIS__URL."
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", help="Certificate (PEM) of the authority that Redis' is signed by."),
    ] = None,
) -> None:
    """Print a join token: another machine becomes a worker.

    The other machine reads it with `ccproxy worker join -`. It works once, over TLS only.
    """
    seconds = read_span(expires)
    if seconds is None:
        raise typer.BadParameter("write a time as 10m, 1h or 1d.", param_hint="--expires")
    raise typer.Exit(print_invitation(name, seconds, address, ca))


@app.command("revoke")
def revoke_access(
    name: Annotated[str, typer.Argument(help="The worker's name.")],
) -> None:
    """Take a joined worker's access to Redis, at once."""
    raise typer.Exit(revoke_invited(name))


def dismiss(control: Control, leaving: list[str], *, wait: bool) -> None:
    """Wait until the leaving workers are done, or at least asked to finish; Ctrl-C stops the
    waiting only.
    """
    began = time.monotonic()
    said = False
    while (left := control.dismiss(leaving)) and (wait or len(control.asked) < len(leaving)):
        if not said and time.monotonic() - began > QUIET_SECONDS:
            say(f"Waiting for the turns of {', '.join(left)}; Ctrl-C leaves them to it.")
            said = True
        time.sleep(POLL_SECONDS)
    if left:
        say(f"Finishing: {', '.join(left)}.")
