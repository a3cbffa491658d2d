"""The start of the command line: a status line without the rest, every other command with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ccproxy.launcher.stacks import keep_listed
from tests.support.loopback import serving, url_of
from tests.unit.ccproxy.cli.test_statusline import Gateway, stack_at

PROGRAM = """
import sys
from ccproxy.cli.start import main
try:
    main()
finally:
    print("typer" in sys.modules, file=sys.stderr)
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in `folder`, for a user without settings."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = kept | dict.fromkeys(("HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"), str(folder))
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("token", "line", "code"), [("of-the-stack", "$1.50 in 24 h\n", 0), ("old", "", 1)]
)
def test_a_status_line_is_printed_without_the_library_of_the_command_line(
    tmp_path: Path, token: str, line: str, code: int
) -> None:
    with serving(Gateway) as server:
        stack = stack_at(url_of(server), token)
        with keep_listed(stack, tmp_path / "ccproxy/stacks"):
            done = run(tmp_path, "usage", "--statusline")
    assert (done.stdout, done.returncode, done.stderr) == (line, code, "False\n")


def test_every_other_command_is_one_of_the_command_line(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")
    assert done.stdout.startswith("ccproxy ")
    assert done.stderr == "True\n"
