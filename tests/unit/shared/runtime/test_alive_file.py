from __future__ import annotations

import os
import stat

from shared.runtime.alive_file import ALIVE_FILE, touch_alive_file


def test_the_file_gets_the_present_time(monkeypatch, tmp_path):
    file = tmp_path / "alive"
    file.touch()
    os.utime(file, (1, 1))
    monkeypatch.setenv(ALIVE_FILE, str(file))
    touch_alive_file()
    assert file.stat().st_mtime > 1


def test_a_new_file_is_its_owners_alone(monkeypatch, tmp_path):
    file = tmp_path / "alive"
    monkeypatch.setenv(ALIVE_FILE, str(file))
    touch_alive_file()
    assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0


def test_nothing_is_written_without_the_variable(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ALIVE_FILE, raising=False)
    touch_alive_file()
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_stops_no_heartbeat(monkeypatch, tmp_path):
    monkeypatch.setenv(ALIVE_FILE, str(tmp_path / "missing/alive"))
    touch_alive_file()
