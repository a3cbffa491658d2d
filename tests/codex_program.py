"""The real `codex` program for tests: the one on PATH, else one installed from its package into a scratch folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

PACKAGE = "@openai/codex@0.169.0"
INSTALL_SECONDS = 300


def find_codex() -> Path:
    """Skips the test, saying why, where there is none and none can be had."""
    if found := shutil.which("codex"):
        return Path(found)
    folder = Path(tempfile.gettempdir()) / f"ccproxy-tests-{PACKAGE.rpartition('/')[2]}"
    program = folder / "node_modules/.bin/codex"
    if program.exists():
        return program
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("codex is not on PATH, and there is no npm to install it with")
    made = Path(tempfile.mkdtemp(prefix="ccproxy-tests-codex-"))
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(made), PACKAGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not install {PACKAGE} in {INSTALL_SECONDS} s")
    if done.returncode:
        pytest.skip(f"npm could not install {PACKAGE}: {done.stderr.strip()[-300:]}")
    try:
        made.rename(folder)
    except OSError:  # another run was quicker
        shutil.rmtree(made)
    return program


def codex_environment(home: Path, url: str) -> dict[str, str]:
    """A home whose Codex uses a provider of its own at `url`."""
    folder = home / "codex"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(
        'model_provider = "ccproxy"\n[model_providers.ccproxy]\nname = "CCProxy"\n'
        f'base_url = "{url}"\nwire_api = "responses"\nenv_key = "CCPROXY_TOKEN"\n'
    )
    return {"PATH": os.environ["PATH"], "HOME": str(home), "CODEX_HOME": str(folder), "CCPROXY_TOKEN": "any"}
