"""The services of docker-compose.yml with their exact commands, environments and entry point, as
the user they run as.

The kernel's namespaces stand in for an engine: own mounts (the paths of the images), own network
(the names of the services), own processes. Health checks and `exec` run as an engine runs them:
without the entry point, with the image's PATH. Needs root; skipped without. tests/containers/
proves the same and more where an engine is.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ccproxy.launcher.redis_server import find_server
from shared.settings.servers import RedisSettings
from tests.support.compose import ROOT, load, stage_of
from tests.support.namespaces import why_no_namespaces

KINDS = (
    ("claude-code-proxy", "gateway"),
    ("sdk-worker", "sdk_worker"),
    ("permission-service", "permission_service"),
    ("analytics", "analytics"),
)
APART = ("--mount", "--net", "--uts", "--pid", "--fork")
WHY_NOT = why_no_namespaces(*APART, programs=("setpriv", "ip"))

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
]

# As an owner's .env would have it. Without a network a spare `claude` is 15 s at its start, and a
# worker waits for it.
EXTRA = {"SDK__ENABLE_POOL": "false", "CLAUDE__API_KEY": "made-up"}
PROGRAMS = "/opt/ccproxy/bin/ccproxy-"
IMAGE_PATH = "/usr/local/lib/ccproxy/bin:/opt/ccproxy/bin"
USER = "1000"  # what `user:` says without PUID

WORLD = """
set -e
ip link set lo up
{open_up}
mkdir -p {root}/data/ccproxy/spool {root}/data/home {root}/data/workspace {root}/bus {root}/redis {root}/programs/bin
cp {deploy}/*.sh {root}/programs
cp {deploy}/ccproxy.sh {root}/programs/bin/ccproxy
for place in /data /run/bus /usr/local/lib/ccproxy /opt/ccproxy/bin; do mkdir -p $place; done
mount --bind {root}/data /data
mount --bind {root}/bus /run/bus
mount --bind {root}/programs /usr/local/lib/ccproxy
mount --bind {scripts} /opt/ccproxy/bin
echo "127.0.0.1 localhost redis claude-code-proxy" > {root}/hosts
mount --bind {root}/hosts /etc/hosts
export REDIS_PASSWORD_FILE=/run/bus/password
export PUID={user} PGID={user}
export PREPARE_VOLUMES="/data/ccproxy /data/home" PREPARE_FOLDERS="" PREPARE_WORKSPACE=/data/workspace
/usr/local/lib/ccproxy/prepare.sh
sed 's|^dir /data|dir {root}/redis|' {deploy}/redis-entrypoint.sh > {root}/redis.sh
PATH={redis}:$PATH sh {root}/redis.sh &
cd /data
{services}
get() {{ {get}; }}
tries=0
until get | grep -q '"status":"pass"\\|"status":"warn"' && ! get | grep -q '"status":"fail"'; do
    tries=$((tries + 1)); [ $tries -lt 100 ] || break; sleep 0.3
done
echo "HEALTH $(get)"
for pid in $(pgrep -f {programs}); do echo "USER $(stat -c %u /proc/$pid)"; done
{checks}
kill -TERM $(pgrep -f {programs})
while pgrep -f {programs} >/dev/null; do sleep 0.05; done
echo GONE
"""

GET = """
import urllib.request as request, urllib.error as error
try:
    print(request.urlopen("http://claude-code-proxy:8000/health/ready", timeout=5).read().decode())
except error.HTTPError as refused:
    print(refused.read().decode())
except OSError as failed:
    print(failed)
"""


def as_engine(name: str, command: list[str]) -> str:
    """Return the shell line that runs `command` in the service as an engine does: its user,
    environment and PATH.
    """
    service = load("docker-compose.yml")["services"][name]
    environment = (
        EXTRA
        | stage_of(service)["ENV"]
        | {key: str(value) for key, value in service["environment"].items()}
    )
    environment["PATH"] = f"{IMAGE_PATH}:{os.environ['PATH']}"
    environment["CCPROXY_ALIVE_FILE"] += f"-{name}"  # here the services share one /tmp
    user = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--no-new-privs", "--"]
    return shlex.join(
        [*user, "env", "-i", *(f"{key}={value}" for key, value in environment.items()), *command]
    )


def own_command(name: str) -> str:
    """Return the shell line that runs the service's own command behind its entry point."""
    service = load("docker-compose.yml")["services"][name]
    stage = stage_of(service)
    return as_engine(name, [*stage["ENTRYPOINT"], *(service.get("command") or stage["CMD"])])


def open_up(root: Path) -> str:
    """Let everybody enter the directories that lead to this interpreter, in this world and nowhere
    else.
    """
    python = Path(sys.base_prefix).resolve()
    closed = [
        parent for parent in reversed(python.parents) if not parent.stat().st_mode & stat.S_IXOTH
    ]
    if not closed:
        return ""
    kept = root / "python"
    return f"""
mkdir {kept}
mount --bind {python} {kept}
mount -t tmpfs -o mode=755 none {closed[0]}
mkdir -p {python}
mount --bind {kept} {python}
"""


@pytest.fixture
def root():
    """A directory everybody may enter."""
    made = Path(tempfile.mkdtemp(prefix="ccproxy-world-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.timeout(120)
def test_the_stack_of_the_compose_file_runs_answers_and_ends(root):
    checks = [
        f'echo "ALIVE {name} $({as_engine(name, ["ccproxy-alive", kind])} 2>&1; echo $?)"'
        for name, kind in KINDS
    ]
    checks.append(
        f'echo "EXEC $({as_engine("claude-code-proxy", ["ccproxy", "auth", "status"])} 2>&1 | tr '
        '"\\n" " ")"'
    )
    world = WORLD.format(
        root=root,
        open_up=open_up(root),
        deploy=ROOT / "deploy",
        scripts=Path(sys.executable).parent,
        redis=find_server(RedisSettings()).parent,
        services="\n".join(f"{own_command(name)} &" for name, _ in KINDS),
        user=USER,
        get=shlex.join([sys.executable, "-c", GET]),
        checks="\n".join(checks),
        programs=PROGRAMS,
    )
    script = root / "world.sh"  # as an argument it would be found by its own `pgrep`
    script.write_text(world)
    ended = subprocess.run(
        [
            "unshare",
            *APART,
            "--mount-proc",
            "--kill-child",
            "sh",
            script,
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    said = ended.stdout.splitlines()
    assert "GONE" in said, ended.stdout + ended.stderr
    [health] = [
        json.loads(line.removeprefix("HEALTH ")) for line in said if line.startswith("HEALTH ")
    ]
    assert {
        name for name, [check] in health["checks"].items() if check["status"] != "fail"
    } == health["checks"].keys()
    assert {line for line in said if line.startswith("USER")} == {f"USER {USER}"}
    [status] = [line for line in said if line.startswith("EXEC")]
    assert "CLAUDE__API_KEY" in status
    assert [line for line in said if line.startswith("ALIVE")] == [
        f"ALIVE {name} 0" for name, _ in KINDS
    ]
