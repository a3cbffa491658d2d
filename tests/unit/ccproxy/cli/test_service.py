from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ccproxy.cli.exits import DONE, NOT_RUNNING
from ccproxy.cli.service import app, service_for
from ccproxy.launcher.background import NoServices, Outcome
from ccproxy.launcher.launch_agent import LaunchAgent
from ccproxy.launcher.user_unit import UserUnit
from shared.settings.problems import ConfigurationError


class Installed:
    """A background service without a system behind it."""

    def __init__(self, path):
        self.path = path
        self.directory = None
        self.runs = False

    def install(self, directory, *, start):
        self.path.write_text("")
        self.directory, self.runs = directory, start

    def uninstall(self):
        self.path.unlink()

    def state(self):
        return ("running" if self.runs else "waiting", self.runs)

    def advice(self):
        return ["Its log is a file."]


@pytest.fixture
def installed(monkeypatch, tmp_path):
    monkeypatch.setenv("CONFIG_FILE", "")
    monkeypatch.chdir(tmp_path)
    return Installed(tmp_path / "the-service")


def run(installed, *arguments):
    return CliRunner().invoke(app, arguments, obj=installed, catch_exceptions=False)


def refuse(*_):
    return Outcome(1)


def test_linux_has_a_systemd_unit_and_macos_a_launchd_agent(tmp_path):
    environ = {"HOME": str(tmp_path), "PATH": "/bin"}
    assert isinstance(service_for("linux", environ, refuse), UserUnit)
    assert isinstance(service_for("darwin", environ, refuse), LaunchAgent)
    with pytest.raises(NoServices, match="ccproxy serve"):
        service_for("freebsd14", environ, refuse)


def test_install_writes_the_service_for_this_folder_and_gives_advice(installed, tmp_path):
    result = run(installed, "install")
    assert result.exit_code == DONE
    assert installed.directory == tmp_path
    assert f"Written to {installed.path}." in result.stderr
    assert "Its log is a file." in result.stderr
    assert run(installed, "status").stdout == "running\n"


def test_a_service_that_was_not_started_has_the_status_code_of_a_stack_that_does_not_run(installed):
    run(installed, "install", "--no-start")
    result = run(installed, "status")
    assert (result.stdout, result.exit_code) == ("waiting\n", NOT_RUNNING)


def test_uninstall_removes_the_service_once(installed):
    run(installed, "install")
    assert "Removed" in run(installed, "uninstall").stderr
    assert "nothing to do" in run(installed, "uninstall").stderr
    assert run(installed, "status").exit_code == NOT_RUNNING


def test_a_stack_that_could_not_start_is_not_installed(installed, monkeypatch):
    monkeypatch.setenv("SERVER__HOST", "0.0.0.0")
    with pytest.raises(ConfigurationError):
        run(installed, "install")
    assert not installed.path.exists()
