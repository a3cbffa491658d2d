"""The real `codex` program for tests: the one on PATH, else the one pinned for its page."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.clients.environments import Unreachable, programs_of, read_pins


def find_codex() -> Path:
    """Skips the test, saying why, where there is none and none can be had."""
    if found := shutil.which("codex"):
        return Path(found)
    try:
        return programs_of(read_pins("codex")) / "codex"
    except Unreachable as nobody:
        pytest.skip(f"codex is not on PATH and could not be installed: {nobody}")


def codex_environment(home: Path, url: str) -> dict[str, str]:
    """A home whose Codex uses a provider of its own at `url`."""
    folder = home / "codex"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(
        'model_provider = "ccproxy"\n[model_providers.ccproxy]\nname = "CCProxy"\n'
        f'base_url = "{url}"\nwire_api = "responses"\nenv_key = "CCPROXY_TOKEN"\n'
    )
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CODEX_HOME": str(folder),
        "CCPROXY_TOKEN": "any",
    }
