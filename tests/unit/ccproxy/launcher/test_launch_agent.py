from __future__ import annotations

import plistlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ccproxy.launcher.background import NoServices, Outcome
from ccproxy.launcher.launch_agent import LABEL, LaunchAgent
from shared.runtime.errors import CCProxyError

TARGET = f"gui/501/{LABEL}"
RUNNING = f"{TARGET} = {{\n\tactive count = 1\n\tpath = /x\n\tstate = running\n\n\tpid = 321\n}}\n"
UNKNOWN = Outcome(113, "", "Could not find service in domain")


class Launchctl:
    """A launchctl with launchd's own rules: an agent ends some looks after `bootout`, and is loaded
    once only.
    """

    def __init__(
        self, *, loaded: bool = False, looks_until_gone: int = 0, refusal: Outcome | None = None
    ) -> None:
        self.asked: list[str] = []
        self.loaded = loaded
        self.looks_until_gone = looks_until_gone
        self._refusal = refusal
        self._is_ending = False

    def __call__(self, name: str, verb: str, *arguments: str) -> Outcome:
        assert name == "launchctl"
        self.asked.append(" ".join((verb, *arguments)))
        answer: Callable[[], Outcome] = getattr(self, f"_{verb}")
        return answer()

    def _print(self) -> Outcome:
        if self._is_ending:
            self.looks_until_gone -= 1
            self.loaded = self.looks_until_gone >= 0
        return Outcome(0, RUNNING) if self.loaded else UNKNOWN

    def _bootout(self) -> Outcome:
        self._is_ending = True
        return Outcome(36, "", "Boot-out failed: 36: Operation now in progress")

    def _enable(self) -> Outcome:
        return Outcome(0)

    def _bootstrap(self) -> Outcome:
        if self._refusal:
            return self._refusal
        if self.loaded:
            return Outcome(5, "", "Bootstrap failed: 5: Input/output error")
        self._is_ending = False
        self.loaded = True
        return Outcome(0)


class Waits:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, seconds: float) -> None:
        self.count += 1


def agent(home: Path, run: Launchctl, wait: Callable[[float], None] | None = None) -> LaunchAgent:
    environ = {"PATH": "/opt/bin:/bin", "CONFIG_FILE": "", "SECRET": "kept out"}
    return LaunchAgent("/opt/bin/ccproxy", environ, home, run, uid=501, wait=wait or Waits())


def test_installing_writes_the_agent_and_loads_it(tmp_path):
    launchctl = Launchctl()
    installed = agent(tmp_path, launchctl)
    installed.install(tmp_path / "here", start=True)
    content = plistlib.loads((tmp_path / f"Library/LaunchAgents/{LABEL}.plist").read_bytes())
    assert content["ProgramArguments"] == ["/opt/bin/ccproxy", "serve"]
    assert content["WorkingDirectory"] == str(tmp_path / "here")
    assert content["EnvironmentVariables"] == {"PATH": "/opt/bin:/bin"}
    assert content["KeepAlive"] == {"SuccessfulExit": False}
    assert content["Umask"] == 0o077
    assert launchctl.asked == [
        f"print {TARGET}",
        f"enable {TARGET}",
        f"bootstrap gui/501 {installed.path}",
    ]
    assert installed.state() == ("running", True)


def test_the_log_of_the_agent_has_a_folder_and_a_name_in_the_advice(tmp_path):
    installed = agent(tmp_path, Launchctl())
    installed.install(tmp_path, start=True)
    log = Path(installed.content(tmp_path)["StandardOutPath"])
    assert log.parent.is_dir()
    assert str(log) in " ".join(installed.advice())


def test_an_agent_that_is_not_started_is_written_only(tmp_path):
    launchctl = Launchctl()
    installed = agent(tmp_path, launchctl)
    installed.install(tmp_path, start=False)
    assert installed.path.exists()
    assert not [line for line in launchctl.asked if line.startswith("bootstrap")]
    assert installed.state() == ("not loaded", False)


def test_installing_again_waits_for_the_end_of_the_loaded_agent(tmp_path):
    launchctl = Launchctl(loaded=True, looks_until_gone=3)
    waits = Waits()
    agent(tmp_path, launchctl, waits).install(tmp_path, start=True)
    assert waits.count == 3
    assert launchctl.loaded


def test_an_agent_that_does_not_end_is_told_in_the_words_of_launchd(tmp_path):
    launchctl = Launchctl(loaded=True, looks_until_gone=10_000)
    with pytest.raises(CCProxyError, match=r"does not end .*Operation now in progress"):
        agent(tmp_path, launchctl).install(tmp_path, start=True)


def test_uninstalling_stops_the_agent_and_removes_it(tmp_path):
    launchctl = Launchctl()
    installed = agent(tmp_path, launchctl)
    installed.install(tmp_path, start=True)
    installed.uninstall()
    assert not launchctl.loaded
    assert not installed.path.exists()


def test_a_session_without_a_desktop_gets_the_way_out(tmp_path):
    refusal = Outcome(125, "", "Bootstrap failed: 125: Domain does not support specified action")
    with pytest.raises(NoServices, match="Log in at the Mac's desktop"):
        agent(tmp_path, Launchctl(refusal=refusal)).install(tmp_path, start=True)


def test_a_refusal_of_launchd_is_told_in_its_words(tmp_path):
    refusal = Outcome(1, "", "Operation not permitted")
    with pytest.raises(CCProxyError, match=r"launchctl bootstrap .*: Operation not permitted"):
        agent(tmp_path, Launchctl(refusal=refusal)).install(tmp_path, start=True)
