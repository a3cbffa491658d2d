"""A service that starts sends nothing to another host, and neither does the command line: each runs
with the usual settings and the logins of a user where the only way out is watched, with the Redis of the test on a
unix socket.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ccproxy.launcher.programs import find_script
from tests.support.logins import claude_content, codex_content, put
from tests.support.stack import clean_environment
from tests.support.watched_network import WHY_NOT, run_watched

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

SERVICES = ("gateway", "sdk-worker", "permission-service", "analytics")
PROCESSES = [
    "gateway.server.process",
    "sdk_worker.process",
    "permission_service.process",
    "analytics.process",
    "ccproxy.cli.app",
    "ccproxy.launcher.launch",
]
# Each heartbeat on the bus touches the file: three of them are a start and some work at rest.
UNTIL_THE_THIRD_HEARTBEAT = """
"$@" &
for beat in 1 2 3; do
    until [ -e "$CCPROXY_ALIVE_FILE" ]; do
        kill -0 $! || exit 1
        sleep 0.05
    done
    rm "$CCPROXY_ALIVE_FILE"
done
kill $!
wait $!
"""


@pytest.mark.long
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_and_rests_without_a_packet_to_another_host(service, redis_url, tmp_path):
    put(tmp_path / ".claude/.credentials.json", claude_content(expires_in=86_400))
    put(tmp_path / ".codex/auth.json", codex_content(expires_in=86_400))
    environment = clean_environment(tmp_path) | {
        "REDIS__URL": redis_url,
        "CCPROXY_ALIVE_FILE": str(tmp_path / "alive"),
        "SERVER__RUN_DIR": str(tmp_path / "run"),
        "SERVER__PORT": "0",
    }
    program = find_script(f"ccproxy-{service}")
    ended = run_watched(
        ["sh", "-c", UNTIL_THE_THIRD_HEARTBEAT, "sh", *program], tmp_path, environment
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.packets == 0


def test_the_help_of_the_command_line_sends_no_packet(tmp_path):
    command = [*find_script("ccproxy"), "--help"]
    ended = run_watched(command, tmp_path, clean_environment(tmp_path))
    assert (ended.returncode, ended.packets) == (0, 0)
    assert "Usage" in ended.stdout


@pytest.mark.long
def test_importing_every_process_sends_no_packet(tmp_path):
    program = f"import {', '.join(PROCESSES)}, ccproxy.cli.start; print('imported')"
    folder = Path(__file__).parent.parent.parent
    environment = clean_environment(tmp_path) | {"PYTHONPATH": str(folder)}
    ended = run_watched([sys.executable, "-c", program], tmp_path, environment)
    assert (ended.returncode, ended.stdout, ended.packets) == (0, "imported\n", 0), ended.stderr
