"""A login file mounted alone into a container, with real mounts: what can be done with it, and what
is said of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent.parent / "support/mounted_login.py"
APART = ["unshare", "--mount", "--map-root-user"]


def can_mount() -> bool:
    try:
        trial = subprocess.run(
            [*APART, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return trial.returncode == 0


@pytest.mark.skipif(not can_mount(), reason="this machine lets nobody mount")
def test_a_single_mounted_file_is_written_in_place_and_its_troubles_are_told(
    tmp_path: Path,
) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [*APART, sys.executable, str(PROGRAM), str(tmp_path)]
    output = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout
    seen = json.loads(output)
    assert seen["writable"] == ""
    assert json.loads(seen["on the host"]) == {"a": 2}
    assert "is read-only" in seen["read-only"]
    assert "replaced behind the mount" in seen["replaced"]
    assert seen["still read"] == {"a": 2}
