"""One version, told everywhere, and the name we go by."""

from __future__ import annotations

import tomllib
from pathlib import Path

from shared.runtime.version import USER_AGENT, VERSION


def test_the_version_is_the_one_released() -> None:
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def test_we_say_who_we_are() -> None:
    assert f"ccproxy/{VERSION}" == USER_AGENT
