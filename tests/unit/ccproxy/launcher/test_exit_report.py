from __future__ import annotations

import subprocess
import sys

from ccproxy.launcher.exit_report import report
from shared.bus import Bus


async def test_a_reported_process_is_gone_from_the_bus_at_once(redis_url):
    async with (
        Bus(redis_url, service="analytics", instance="analytics"),
        Bus(redis_url, service="gateway", instance="gateway_00") as gateway,
    ):
        await report(redis_url, "analytics", "analytics", None)
        assert [process["service"] for process in await gateway.processes()] == ["gateway"]


async def test_a_redis_that_is_away_costs_only_the_report(tmp_path):
    await report(f"unix://{tmp_path}/redis.sock", "analytics", "analytics", 17)


def test_the_program_takes_the_pid_as_its_third_argument(tmp_path):
    environment = {"REDIS__URL": f"unix://{tmp_path}/redis.sock"}
    command = [
        sys.executable,
        "-m",
        "ccproxy.launcher.exit_report",
        "sdk_worker",
        "sdk_worker_00",
        "17",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
