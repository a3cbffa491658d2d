from __future__ import annotations

import socket

import pytest

from ccproxy.cli.exits import CONFIGURATION, TRY_LATER, UNAVAILABLE
from ccproxy.launcher.launch import start_stack
from ccproxy.launcher.rundir import RunDirectory


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """The environment of a start that fails: no file, no variable of the owner's reaches it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SERVER__RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("SERVER__PORT", "0")
    return monkeypatch


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("CONFIG_FILE", "missing.toml", "configuration file missing.toml does not exist"),
        ("SERVER__PORT", "many", "SERVER__PORT"),
        ("SERVER__HOST", "0.0.0.0", "SECURITY__AUTH_TOKEN"),
        ("SERVER__RUN_DIR", "/proc/nothing", "run directory /proc/nothing cannot be used"),
        ("REDIS__SERVER_BINARY", "/bin/true", "REDIS__SERVER_BINARY"),
    ],
)
def test_what_cannot_be_configured_is_one_sentence(environment, capfd, setting, value, words):
    environment.setenv(setting, value)
    assert start_stack() == CONFIGURATION
    said = capfd.readouterr().err
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("host", ["no such host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_one_sentence(environment, capfd, host):
    environment.setenv("SERVER__HOST", host)
    environment.setenv("SECURITY__AUTH_TOKEN", "s3cret")
    assert start_stack() == CONFIGURATION
    said = capfd.readouterr().err
    assert host in said
    assert said.count("\n") == 1


def test_a_toml_file_that_cannot_be_read_is_one_sentence(environment, tmp_path, capfd):
    (tmp_path / "ccproxy.toml").write_text("[server\n")
    assert start_stack() == CONFIGURATION
    assert "ccproxy.toml is not valid TOML" in capfd.readouterr().err


def test_a_taken_port_is_one_sentence_that_says_what_to_change(environment, taken, capfd):
    environment.setenv("SERVER__PORT", str(taken))
    assert start_stack() == UNAVAILABLE
    assert (
        capfd.readouterr().err
        == f"Port {taken} on 127.0.0.1 is in use by another program; choose another with --port.\n"
    )


def test_a_second_start_is_one_sentence(environment, tmp_path, capfd):
    with RunDirectory(tmp_path / "run") as run:
        run.tell("http://127.0.0.1:8123")
        assert start_stack() == TRY_LATER
    assert "already running at http://127.0.0.1:8123 (pid " in capfd.readouterr().err
