"""deploy/Caddyfile in front of a running stack: streams are not held back, and pages open."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess

import httpx
import pytest

from ccproxy.cli.checks import Machine
from ccproxy.cli.checks_outside import look_through_proxy
from shared.settings.tree import Settings
from tests.support.compose import ROOT
from tests.support.stack import until

pytestmark = pytest.mark.long

RECIPE = (ROOT / "deploy/Caddyfile").read_text()


@pytest.fixture
def start_caddy(tmp_path):
    """`start_caddy(stack)`: Caddy with the committed file on a free port; returns its address."""
    caddy = shutil.which("caddy")
    if not caddy:
        pytest.skip("caddy is not installed")
    started = []

    def start(stack) -> str:
        with socket.create_server(("127.0.0.1", 0)) as free:
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        site = RECIPE.replace("ccproxy.example.org", url)
        behind = site.replace("127.0.0.1:8000", stack.url.removeprefix("http://"))
        (tmp_path / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{behind}")
        command = [caddy, "run", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile"]
        home = {"HOME": str(tmp_path)}
        started.append(subprocess.Popen(command, env=home, stderr=subprocess.DEVNULL))

        def answers() -> bool:
            try:
                return httpx.get(f"{url}/health/live", timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        until(answers, "caddy")
        return url

    yield start
    for process in started:
        process.terminate()
        process.wait(20)


def test_streams_and_pages_come_through_caddy(start_caddy, start_stack):
    stack = start_stack(SERVER__PING_INTERVAL_SECONDS="0.5", SDK__WORKERS="0").wait_ready()
    url = start_caddy(stack)
    machine = Machine(Settings(_env_file=None, server={"ping_interval_seconds": 0.5}))
    [finding] = asyncio.run(look_through_proxy(machine, url))
    assert finding.status == "pass", finding
    assert httpx.get(f"{url}/dashboard", timeout=30).status_code == 200


def test_the_page_shows_the_caddyfile_as_it_is():
    page = (ROOT / "docs/how-to/reverse-proxy.md").read_text()
    [shown] = re.findall(r"```caddyfile\n(.*?)```", page, re.DOTALL)
    assert shown == RECIPE.partition("\n")[2]
