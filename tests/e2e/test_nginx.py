"""deploy/nginx.conf in front of a running stack: streams are not held back, and the doctor notices
when they are.
"""

from __future__ import annotations

import asyncio
import json
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

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed"),
]

AROUND = """
daemon off;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""
BUFFERING = """
location / {{
    proxy_pass {url};
    proxy_ignore_headers X-Accel-Buffering;
    gzip on;
    gzip_types text/event-stream;
    gzip_min_length 0;
}}
"""


@pytest.fixture
def start_nginx(tmp_path):
    """`start_nginx(location)`: nginx with that location; returns its address."""
    started = []

    def start(location: str) -> str:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        place = tmp_path / str(port)
        place.mkdir()
        (place / "nginx.conf").write_text(AROUND.format(place=place, port=port, location=location))
        started.append(
            subprocess.Popen(
                ["nginx", "-p", place, "-c", place / "nginx.conf"], stderr=subprocess.DEVNULL
            )
        )
        until((place / "nginx.pid").exists, "nginx")
        return f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        process.terminate()
        process.wait(20)


@pytest.fixture
def recipe(stack):
    """The committed file, pointed at the stack."""
    return (ROOT / "deploy/nginx.conf").read_text().replace("http://127.0.0.1:8000", stack.url)


def test_a_stream_comes_through_as_it_is_made(start_nginx, recipe):
    url = start_nginx(recipe)
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 100,
        "stream": True,
        "messages": [{"role": "user", "content": "[[scenario:slow-20x50]]"}],
    }
    arrived = []
    with httpx.stream("POST", f"{url}/api/v1/messages", json=body, timeout=30) as reply:
        assert reply.status_code == 200
        for chunk in reply.iter_raw():
            arrived.append(chunk)  # noqa: PERF402 - each as it comes
    assert b"message_stop" in arrived[-1]
    assert len(arrived) > 10  # held back they would come in one or two pieces


def test_the_doctor_tells_a_proxy_that_holds_streams_back(start_nginx, start_stack):
    stack = start_stack(SERVER__PING_INTERVAL_SECONDS="0.5", SDK__WORKERS="0").wait_ready()
    recipe = (ROOT / "deploy/nginx.conf").read_text().replace("http://127.0.0.1:8000", stack.url)
    machine = Machine(Settings(_env_file=None, server={"ping_interval_seconds": 0.5}))

    def verdict(url: str) -> str:
        [finding] = asyncio.run(look_through_proxy(machine, url))
        return finding.status

    assert verdict(start_nginx(recipe)) == "pass"
    assert verdict(start_nginx(BUFFERING.format(url=stack.url))) == "fail"


def test_the_page_shows_the_file_as_it_is():
    shown = re.search(
        r"```nginx\n(.*?)```", (ROOT / "docs/how-to/reverse-proxy.md").read_text(), re.DOTALL
    )
    assert shown[1] == (ROOT / "deploy/nginx.conf").read_text().partition("\n")[2]


def test_a_body_as_large_as_the_gateway_takes_goes_through(start_nginx, recipe):
    url = start_nginx(recipe)
    filler = "x" * (4 * 1024 * 1024)
    reply = httpx.post(
        f"{url}/api/v1/messages/count_tokens", json={"model": "m", "messages": filler}, timeout=30
    )
    assert reply.status_code != httpx.codes.REQUEST_ENTITY_TOO_LARGE
    assert json.loads(reply.content)
