"""The services of docker-compose.yml with their exact commands, environments and entry point, as the user they run as.

The kernel's namespaces stand in for an engine: own mounts (the paths of the images), own network (the names of the
services), own processes. Needs root; skipped without.
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

from ccproxy.redis_server import find_server
from shared.settings import RedisSettings
from tests.compose import ROOT, dockerfile_stages, load

KINDS = (
    ("claude-code-proxy", "gateway"),
    ("sdk-worker", "sdk_worker"),
    ("permission-service", "permission_service"),
    ("analytics", "analytics"),
)
CAN_UNSHARE = (
    os.geteuid() == 0
    and all(map(shutil.which, ("unshare", "setpriv", "ip")))
    and not subprocess.run(
        ["unshare", "--mount", "--net", "--uts", "--pid", "--fork", "true"], capture_output=True, check=False
    ).returncode
)

pytestmark = pytest.mark.skipif(not CAN_UNSHARE, reason="needs root and namespaces")

# As an owner's .env would have it. Without a network a spare `claude` is 15 s at its start, and a worker waits for it.
EXTRA = {"SDK__ENABLE_POOL": "false", "CLAUDE__API_KEY": "made-up"}
PROGRAMS = "/opt/ccproxy/bin/ccproxy-"

WORLD = """
set -e
ip link set lo up
{open_up}
mkdir -p {root}/data {root}/bus {root}/redis
for place in /data /run/bus /usr/local/lib/ccproxy /opt/ccproxy/bin; do mkdir -p $place; done
mount --bind {root}/data /data
mount --bind {root}/bus /run/bus
mount --bind {deploy} /usr/local/lib/ccproxy
mount --bind {scripts} /opt/ccproxy/bin
echo "127.0.0.1 localhost redis claude-code-proxy" > {root}/hosts
mount --bind {root}/hosts /etc/hosts
export REDIS_PASSWORD_FILE=/run/bus/password
/usr/local/lib/ccproxy/make-password.sh
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


def in_service(name: str, command: list[str] | None = None) -> str:
    """The shell line that runs the service's own command, or another, where and as the service runs."""
    service = load("docker-compose.yml")["services"][name]
    stage = dockerfile_stages()[service["build"]["target"]]
    environment = EXTRA | stage["ENV"] | {key: str(value) for key, value in service["environment"].items()}
    environment["PATH"] = f"/opt/ccproxy/bin:{os.environ['PATH']}"
    line = [*stage["ENTRYPOINT"], *(command or service.get("command") or stage["CMD"])]
    return shlex.join(["env", "-i", *(f"{key}={value}" for key, value in environment.items()), *line])


def open_up(root: Path) -> str:
    """Let everybody enter the directories that lead to this interpreter, in this world and nowhere else."""
    python = Path(sys.base_prefix).resolve()
    closed = [parent for parent in reversed(python.parents) if not parent.stat().st_mode & stat.S_IXOTH]
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
        f'echo "ALIVE {name} $({in_service(name, ["ccproxy", "alive", kind])} 2>&1; echo $?)"' for name, kind in KINDS
    ]
    world = WORLD.format(
        root=root,
        open_up=open_up(root),
        deploy=ROOT / "deploy",
        scripts=Path(sys.executable).parent,
        redis=find_server(RedisSettings()).parent,
        services="\n".join(f"{in_service(name)} &" for name, _ in KINDS),
        get=shlex.join([sys.executable, "-c", GET]),
        checks="\n".join(checks),
        programs=PROGRAMS,
    )
    script = root / "world.sh"  # as an argument it would be found by its own `pgrep`
    script.write_text(world)
    ended = subprocess.run(
        ["unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", script],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    said = ended.stdout.splitlines()
    assert "GONE" in said, ended.stdout + ended.stderr
    [health] = [json.loads(line.removeprefix("HEALTH ")) for line in said if line.startswith("HEALTH ")]
    assert {name for name, [check] in health["checks"].items() if check["status"] != "fail"} == health["checks"].keys()
    assert {line for line in said if line.startswith("USER")} == {"USER 1000"}
    assert [line for line in said if line.startswith("ALIVE")] == [f"ALIVE {name} 0" for name, _ in KINDS]
