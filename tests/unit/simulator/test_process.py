"""The console script's own decisions."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.process import parse_arguments

PROGRAM = Path(sys.executable).with_name("ccproxy-simulator")


@pytest.mark.parametrize(
    ("host", "address"), [("localhost", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"), ("::1", "::1")]
)
def test_loopback_addresses_are_taken(host: str, address: str) -> None:
    assert parse_arguments(["--host", host]).host == address


@pytest.mark.parametrize("words", [[], ["serve"], ["serve", "--port", "8400"]])
def test_the_command_serve_may_be_named_or_left_out(words: list[str]) -> None:
    assert parse_arguments(words).port == 8400


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::"])
def test_an_address_beyond_loopback_is_refused(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(["--host", host])
    assert "not a loopback address; see --internal-network" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "172.18.0.2"])
def test_an_address_beyond_loopback_is_taken_for_an_internal_network(host: str) -> None:
    assert parse_arguments(["--internal-network", "--host", host]).host == host


@pytest.mark.parametrize("host", ["example.com", ""])
def test_a_name_is_no_address(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(["--internal-network", "--host", host])
    assert "is not an IP address" in capsys.readouterr().err


def test_options_have_defaults() -> None:
    options = parse_arguments([])
    assert (options.host, options.port) == ("127.0.0.1", 8400)


def test_a_taken_port_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [PROGRAM, "--port", port], capture_output=True, text=True, timeout=30, check=False
        )
    assert done.returncode == 1
    assert (
        done.stderr
        == f"ccproxy-simulator: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    )


def test_the_address_is_announced_and_the_process_ends_when_told_to() -> None:
    with subprocess.Popen([PROGRAM, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        assert announced["url"] == f"http://127.0.0.1:{announced['port']}"
        with socket.create_connection(("127.0.0.1", announced["port"])):
            process.terminate()
            process.wait(20)
