from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ccproxy.launcher.background import NoServices, Outcome
from ccproxy.launcher.user_unit import UserUnit, quoted
from shared.runtime.errors import CCProxyError

NO_BUS = (
    "Failed to connect to bus: No medium found",
    (
        "Failed to connect to user scope bus via local transport: $DBUS_SESSION_BUS_ADDRESS not "
        "defined"
    ),
    "System has not been booted with systemd as init system (PID 1). Can't operate.",
)


ACTIVE = Outcome(0, "active\n")


class Systemctl:
    """A systemctl that keeps what it is asked and gives `outcome`."""

    def __init__(self, outcome: Outcome = ACTIVE) -> None:
        self.outcome = outcome
        self.asked: list[str] = []

    def __call__(self, name: str, *arguments: str) -> Outcome:
        self.asked.append(" ".join((name, *arguments)))
        return self.outcome


def unit(home: Path, run: Systemctl, **environ: str) -> UserUnit:
    return UserUnit("/opt/bin/ccproxy", {"PATH": "/opt/bin", **environ}, home, run)


def test_installing_writes_the_unit_and_starts_it(tmp_path):
    systemctl = Systemctl()
    installed = unit(tmp_path, systemctl)
    installed.install(tmp_path, start=True)
    text = (tmp_path / ".config/systemd/user/ccproxy.service").read_text()
    assert 'ExecStart="/opt/bin/ccproxy" serve\n' in text
    assert f"WorkingDirectory={tmp_path}\n" in text
    assert 'Environment="PATH=/opt/bin"\n' in text
    assert systemctl.asked[-2:] == [
        "systemctl --user daemon-reload",
        "systemctl --user enable --now ccproxy.service",
    ]
    assert installed.state() == ("active", True)


def test_a_unit_that_is_not_started_is_enabled_only(tmp_path):
    systemctl = Systemctl()
    unit(tmp_path, systemctl).install(tmp_path, start=False)
    assert systemctl.asked[-1] == "systemctl --user enable ccproxy.service"


def test_the_unit_lies_in_the_configuration_folder_of_the_user(tmp_path):
    assert unit(tmp_path, Systemctl(), XDG_CONFIG_HOME="/etc/mine").path == Path(
        "/etc/mine/systemd/user/ccproxy.service"
    )


def test_uninstalling_stops_the_unit_and_removes_it(tmp_path):
    systemctl = Systemctl()
    installed = unit(tmp_path, systemctl)
    installed.install(tmp_path, start=True)
    installed.uninstall()
    assert not installed.path.exists()
    assert "systemctl --user disable --now ccproxy.service" in systemctl.asked


def test_a_refusal_of_systemd_is_told_in_its_words(tmp_path):
    with pytest.raises(CCProxyError, match="daemon-reload: Access denied"):
        unit(tmp_path, Systemctl(Outcome(1, "", "Access denied\n"))).install(tmp_path, start=True)


@pytest.mark.parametrize("words", NO_BUS)
def test_a_session_without_a_user_bus_gets_the_way_out_and_no_unit(tmp_path, words):
    installed = unit(tmp_path, Systemctl(Outcome(1, "", words + "\n")))
    with pytest.raises(NoServices, match="enable-linger") as raised:
        installed.install(tmp_path, start=True)
    assert words in raised.value.message
    assert not installed.path.exists()
    with pytest.raises(NoServices):
        installed.state()


def test_a_unit_that_does_not_run_has_the_word_of_systemd(tmp_path):
    assert unit(tmp_path, Systemctl(Outcome(3, "failed\n"))).state() == ("failed", False)


def test_special_characters_in_a_path_stay_literal(tmp_path):
    assert quoted('a b"c\\d%e') == '"a b\\"c\\\\d%%e"'
    assert "WorkingDirectory=/a %%b\n" in unit(tmp_path, Systemctl()).text(Path("/a %b"))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_itself_finds_nothing_wrong_with_the_unit(tmp_path):
    program = shutil.which("true")
    file = tmp_path / "ccproxy.service"
    file.write_text(UserUnit(program, {"PATH": "/bin"}, tmp_path, Systemctl()).text(tmp_path))
    said = subprocess.run(
        ["systemd-analyze", "verify", "--user", file], capture_output=True, text=True, check=False
    )
    assert not [line for line in said.stderr.splitlines() if "ccproxy.service" in line]
