from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ccproxy.exits import DONE, NOT_RUNNING
from ccproxy.user_unit import app, quoted, unit_text
from shared.complaints import ConfigurationError
from shared.errors import CCProxyError


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A user's home, and a `systemctl` that writes down what it is asked and ends with the code in `answer`."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho active\nexit $(cat {tmp_path}/answer)\n')
    program.chmod(0o755)
    (tmp_path / "answer").write_text("0")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("CONFIG_FILE", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def asked(home):
    return (home / "asked").read_text().splitlines()


def test_installing_writes_the_unit_and_starts_it(home):
    assert run("install").exit_code == DONE
    text = (home / ".config/systemd/user/ccproxy.service").read_text()
    assert f"WorkingDirectory={home}\n" in text
    assert f'Environment="PATH={home}/bin:' in text
    assert "CONFIG_FILE" not in text
    assert asked(home) == ["--user daemon-reload", "--user enable --now ccproxy.service"]
    assert run("status").stdout == "active\n"


def test_uninstalling_stops_it_and_removes_the_unit(home):
    run("install", "--no-start")
    assert asked(home)[-1] == "--user enable ccproxy.service"
    assert run("uninstall").exit_code == DONE
    assert not (home / ".config/systemd/user/ccproxy.service").exists()
    assert "--user disable --now ccproxy.service" in asked(home)
    assert run("uninstall").exit_code == DONE
    assert run("status").exit_code == NOT_RUNNING


def test_what_systemd_refuses_is_told_in_its_words(home):
    (home / "answer").write_text("1")
    with pytest.raises(CCProxyError, match="daemon-reload"):
        run("install")


def test_a_stack_that_could_not_start_is_not_installed(home, monkeypatch):
    monkeypatch.setenv("SERVER__HOST", "0.0.0.0")
    with pytest.raises(ConfigurationError):
        run("install")
    assert not (home / ".config").exists()


def test_what_is_odd_in_a_path_means_itself():
    assert quoted('a b"c\\d%e') == '"a b\\"c\\\\d%%e"'
    assert "WorkingDirectory=/a %%b\n" in unit_text(Path("/a %b"))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_itself_finds_nothing_wrong_with_the_unit(home):
    unit = home / "ccproxy.service"
    unit.write_text(unit_text(home))
    said = subprocess.run(["systemd-analyze", "verify", "--user", unit], capture_output=True, text=True, check=False)
    assert not [line for line in said.stderr.splitlines() if "ccproxy.service" in line]
