"""A gateway for one question: its end, and its last words. tests/contract/test_codex_commands.py
has a real one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ccproxy.cli.gateway import NotRunning, Unanswered, connection_to
from ccproxy.cli.moment_gateway import gateway_of_a_moment
from ccproxy.cli.stack_options import CHOSEN_URL
from shared.settings.tree import Settings, load_settings

# Answers one request on the socket that it gets, with its own process id.
ANSWERING = """
import os, socket, time
with socket.socket(fileno=0) as listening:
    connection, _ = listening.accept()
    connection.recv(10_000)
    body = str(os.getpid()).encode()
    connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n%b" % (len(body), body))
    time.sleep(60)
"""
FAILING = "import sys; sys.stderr.write('gateway: starting\\ngateway: No luck.\\n'); sys.exit(1)"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv(CHOSEN_URL, raising=False)
    monkeypatch.chdir(tmp_path)
    return load_settings(server={"run_dir": str(tmp_path / "run"), "port": 1})


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_the_gateway_answers_and_ends_with_the_block(settings: Settings) -> None:
    with gateway_of_a_moment(settings, python(ANSWERING)) as stack, connection_to(stack) as client:
        answer = client.get("/")
    pid = int(answer.text)
    assert not Path(f"/proc/{pid}").exists()
    assert stack.token == answer.request.headers["x-api-key"]


def test_a_gateway_that_ends_early_gives_its_last_words(settings: Settings) -> None:
    with (
        pytest.raises(Unanswered, match=r"^gateway: No luck\.$"),
        gateway_of_a_moment(settings, python(FAILING)) as stack,
        connection_to(stack) as client,
    ):
        client.get("/")


def test_a_stack_that_the_owner_names_is_not_replaced(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHOSEN_URL, "http://127.0.0.1:9")
    with pytest.raises(NotRunning, match="Nothing answers"), gateway_of_a_moment(settings, []):
        pass
