"""The health check of a container, as the engine runs it: a program with an exit code."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from ccproxy.launcher.alive import SILENT_SECONDS, gateway_problem, silence_problem
from shared.runtime.alive_file import ALIVE_FILE

HEAVY = ("asyncio", "typer", "pydantic", "redis", "httpx", "pathlib")


@contextlib.contextmanager
def answering(reply: bytes) -> Iterator[int]:
    """A server on loopback that answers one connection with `reply`; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_once() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1024)
                    connection.sendall(reply)

        thread = threading.Thread(target=answer_once, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def test_a_gateway_that_answers_is_well():
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert gateway_problem(port) == ""


@pytest.mark.parametrize(
    "reply", [b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"HTTP/1.1 403 Forbidden\r\n\r\n", b""]
)
def test_a_gateway_that_answers_anything_else_is_not_well(reply):
    with answering(reply) as port:
        assert str(port) in gateway_problem(port)


def test_a_gateway_that_refuses_the_connection_is_not_well():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "does not answer" in gateway_problem(port)


def test_a_service_with_a_young_file_is_well(tmp_path):
    file = tmp_path / "alive"
    file.touch()
    assert silence_problem("analytics", str(file)) == ""


def test_a_service_with_an_old_file_hangs_or_has_lost_redis(tmp_path):
    file = tmp_path / "alive"
    file.touch()
    then = time.time() - SILENT_SECONDS - 5
    os.utime(file, (then, then))
    assert silence_problem("analytics", str(file)).startswith("analytics hangs, or has lost Redis")


def test_a_service_that_never_touched_its_file_is_not_well(tmp_path):
    assert "has not reached Redis" in silence_problem("sdk_worker", str(tmp_path / "alive"))


def test_a_check_outside_of_a_container_says_that_it_has_no_file():
    assert ALIVE_FILE in silence_problem("sdk_worker", "")


def run_check(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = (
        f"import sys; sys.argv[1:] = {list(arguments)!r}\nfrom ccproxy.launcher.alive import "
        "main\nmain()"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_exit_code_says_what_the_sentence_says(tmp_path):
    file = tmp_path / "alive"
    refused = run_check("analytics", **{ALIVE_FILE: str(file)})
    assert (refused.returncode, "Redis" in refused.stderr) == (1, True)
    file.touch()
    assert run_check("analytics", **{ALIVE_FILE: str(file)}).returncode == 0
    assert "Usage" in run_check().stderr


def test_a_check_loads_no_large_module():
    program = "import sys, ccproxy.launcher.alive; print(' '.join(sys.modules))"
    told = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, cwd="."
    )
    assert not set(HEAVY) & set(told.stdout.split())
