"""One version, told everywhere, and the name we go by."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from shared.runtime import version
from shared.runtime.version import USER_AGENT, VERSION


def test_the_build_reads_the_version_from_this_module() -> None:
    source = Path(version.__file__)
    root = Path(__file__).parents[4]
    described = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["version"]
    [found] = re.findall(described["pattern"], source.read_text())
    assert (described["path"], found) == (str(source.relative_to(root)), VERSION)


def test_we_say_who_we_are() -> None:
    assert f"ccproxy/{VERSION}" == USER_AGENT
