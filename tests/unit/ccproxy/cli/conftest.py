"""The state directory of every test here is its own: no command finds a stack of this machine."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_stack_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
