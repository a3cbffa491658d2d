"""The programs of the stack, their commands, and the environment they inherit.

One table names the commands, so that a test can run stand-ins in their place. Settings and secrets
travel by environment; a command line carries neither.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ccproxy.launcher.redis_data import REDIS_DATA
from shared.accounts.login import EXCHANGE_SECONDS
from shared.accounts.tokens import STACK_TOKEN, token_digest
from shared.runtime.alive_file import HEARTBEAT_SOCKET
from shared.runtime.process import DRAINED_EXIT
from shared.settings.problems import ConfigurationError
from shared.settings.snapshot import SNAPSHOT
from shared.settings.tree import Settings
from shared.settings.trust import PINNED

SCRIPTS = {
    "gateway": "ccproxy-gateway",
    "sdk_worker": "ccproxy-sdk-worker",
    "permission_service": "ccproxy-permission-service",
    "analytics": "ccproxy-analytics",
    "listener": "ccproxy-listener",
}
# in the run directory: the guarded settings of the files this stack was started with
PINNED_FILE = "pinned.json"
SNAPSHOT_FILE = "settings.json"  # beside it: the settings of the files as last accepted
# A gateway that is told to stop first finishes the renewal of a login that it has begun.
RENEWAL_SECONDS = math.ceil(EXCHANGE_SECONDS) + 5

Commands = Mapping[str, list[str]]

PROGRAM = """\
[program:{name}]
priority=10
command={command}
environment={environment}
{restart}
startsecs=1
startretries=3
stopwaitsecs=%(ENV_CCPROXY_STOP_SECONDS)s
killasgroup=true
redirect_stderr=true
stdout_logfile=/dev/fd/1
stdout_logfile_maxbytes=0
"""

INSTANCE = 'CCPROXY_INSTANCE="%(program_name)s"'
# A section that names the socket says that its program sends heartbeats (ccproxy/launcher/
# supervision.py).
BEATING = f'{INSTANCE},{HEARTBEAT_SOCKET}="%(ENV_{HEARTBEAT_SOCKET})s"'


@dataclass(frozen=True, slots=True)
class Places:
    """The addresses and files of a run of the stack.

    `redis_binary` is None when somebody else's Redis is used. `sockets` is the run directory, or a
    stand-in when that is too deep for a socket's path; `redis_data` is where our own Redis keeps
    its file.
    """

    run_dir: Path
    sockets: Path
    redis_data: Path
    port: int
    redis_url: str
    redis_binary: Path | None


def find_script(name: str) -> list[str]:
    """Return the console script `name` of this installation. Raises ConfigurationError for a
    missing script.
    """
    beside = [
        Path(sys.argv[0]).resolve().parent,
        Path(sys.executable).parent,
        Path(sysconfig.get_path("scripts")),
    ]
    found = shutil.which(name, path=os.pathsep.join(map(str, beside))) or shutil.which(name)
    if found is None:
        raise ConfigurationError(f"The program {name} is missing; install CCProxy again.")
    return [found]


def worker_description() -> dict[str, Any]:
    """Return the `program` started by the workers of /sdk and the `version`, or the `problem` with
    the program. Raises ConfigurationError for a missing script.
    """
    described = subprocess.run(  # noqa: S603 - a program of this installation
        [*find_script(SCRIPTS["sdk_worker"]), "--describe"],
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(described.stdout)
    return found


def own_command() -> str:
    """Return the words to start CCProxy in a shell: `ccproxy`, or the path while no `ccproxy` is on
    PATH.
    """
    return "ccproxy" if shutil.which("ccproxy") else shlex.join(find_script("ccproxy"))


def installed_commands() -> Commands:
    return {name: find_script(script) for name, script in SCRIPTS.items()}


def supervisor_configuration() -> str:
    """Return the committed supervisord.conf: in a wheel beside this module, in a source tree under
    deploy/.
    """
    packaged = resources.files("ccproxy") / "supervisord.conf"
    if packaged.is_file():
        return packaged.read_text()
    return (Path(__file__).parents[2] / "deploy/supervisord.conf").read_text()


def program_sections(extra: Commands) -> str:
    return "\n".join(
        PROGRAM.format(
            name=name,
            command=placeholder(name),
            environment=INSTANCE,
            restart="autorestart=true",
        )
        for name in extra
    )


def worker_sections(numbers: Iterable[int]) -> str:
    """Return a section for every worker, so that workers come and go alone. A worker ended on
    request stays down.
    """
    restart = f"autorestart=unexpected\nexitcodes={DRAINED_EXIT}"
    return "\n".join(
        PROGRAM.format(
            name=f"sdk_worker_{n:02d}",
            command=placeholder("sdk_worker"),
            environment=BEATING,
            restart=restart,
        )
        for n in numbers
    )


def worker_numbers(sections: str) -> list[int]:
    """Return the numbers of the workers in `worker_sections`."""
    return [
        int(number)
        for number in re.findall(r"^\[program:sdk_worker_(\d+)\]$", sections, re.MULTILINE)
    ]


def placeholder(name: str) -> str:
    return f"%(ENV_CCPROXY_COMMAND_{name.upper()})s"


def child_environment(
    settings: Settings, places: Places, commands: Commands, stack_token: str = ""
) -> dict[str, str]:
    """Return the launcher's environment with the additions for every child; settings go under the
    settings' own names. Children get a SHA-256 of `stack_token`.
    """
    redis = [str(places.redis_binary or "redis-server"), str(places.run_dir / "redis.conf")]
    # past it, supervisord kills
    stop_seconds = math.ceil(settings.server.shutdown_grace_seconds) + 2
    ours = {
        "CCPROXY_SUPERVISED": "1",
        "CCPROXY_LAUNCHER": str(os.getpid()),
        "CCPROXY_LOG_LEVEL": settings.server.log_level,
        "CCPROXY_LOG_FORMAT": settings.server.log_format,
        "CCPROXY_UID": str(os.getuid()),
        "CCPROXY_OWN_REDIS": "true" if places.redis_binary else "false",
        REDIS_DATA: str(places.redis_data),
        "CCPROXY_CONTROL_SOCKET": str(places.sockets / "control.sock"),
        "CCPROXY_STOP_SECONDS": str(stop_seconds),
        "CCPROXY_GATEWAY_STOP_SECONDS": str(stop_seconds + RENEWAL_SECONDS),
        "CCPROXY_GATEWAY_LEAVE_SECONDS": str(
            stop_seconds + RENEWAL_SECONDS + math.ceil(settings.server.drain_seconds)
        ),
        HEARTBEAT_SOCKET: str(places.sockets / "heartbeats.sock"),
        PINNED: str(places.run_dir / PINNED_FILE),
        SNAPSHOT: str(places.run_dir / SNAPSHOT_FILE),
        STACK_TOKEN: token_digest(stack_token) if stack_token else "",
        "PYTHONSAFEPATH": "1",
        "REDIS__URL": places.redis_url,
        "SERVER__PORT": str(places.port),
        "SERVER__RUN_DIR": str(places.run_dir),
        "SERVER__WORKERS": str(settings.server.workers),
        "SUPERVISOR_USERNAME": "ccproxy",
        "SUPERVISOR_PASSWORD": secrets.token_urlsafe(32),
    }
    for name, command in {**commands, "redis": redis}.items():
        ours[f"CCPROXY_COMMAND_{name.upper()}"] = shlex.join(command)
    # Settings are read without regard to case: a `server__port` that stayed would contradict ours.
    return {name: value for name, value in os.environ.items() if name.upper() not in ours} | ours


def control_access(environment: Mapping[str, str]) -> str:
    """Return the access to supervisord for further commands of the owner, as JSON."""
    return json.dumps(
        {
            "socket": environment["CCPROXY_CONTROL_SOCKET"],
            "username": environment["SUPERVISOR_USERNAME"],
            "password": environment["SUPERVISOR_PASSWORD"],
        }
    )
