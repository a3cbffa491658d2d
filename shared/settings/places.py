"""The directories of this product on the owner's machine, as the XDG base directory specification
names them.
"""

from __future__ import annotations

import os
from pathlib import Path


def config_dir() -> Path:
    """Return the directory of the owner's own configuration file and permission rules."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "ccproxy"


def default_data_dir() -> Path:
    """Return the directory of the records."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "ccproxy"


def state_dir() -> Path:
    """Return the directory for state beyond a run, such as the trusted configuration files."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "ccproxy"


def default_run_dir() -> Path:
    """Return the directory of sockets and pid files, in the session's runtime directory or the
    state directory.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "ccproxy"
    return state_dir() / "run"


def default_workspace() -> Path:
    """Return the directory for the agent's tools if the request and the settings name none."""
    return default_data_dir() / "workspace"
