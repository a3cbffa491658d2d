"""The snapshot of the settings: what the configuration files said when they were last accepted.

The launcher writes it at its start, and a gateway after each reload that it accepted. A service of
a running stack, also one that is started again, takes its settings from the snapshot and reads no
file. So a file that has been broken since then reaches no running stack, however often a service is
started.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from shared.runtime.files import replace_private
from shared.settings.guarded import Values
from shared.settings.problems import ConfigurationError

SNAPSHOT = (
    "CCPROXY_SETTINGS_SNAPSHOT"  # names the file, in the environment of the stack's processes
)


def snapshot_text(layers: list[Values]) -> str:
    """Return the content of the file for `layers`, the settings of files, strongest first."""
    return json.dumps(layers, default=str)


def write_snapshot(layers: list[Values]) -> None:
    """Keep `layers` for services that are started again. A process without a launcher writes no
    snapshot. Raises OSError.
    """
    named = os.environ.get(SNAPSHOT)
    if named:
        replace_private(Path(named), snapshot_text(layers))


def read_snapshot() -> list[Values] | None:
    """Return the settings of files as last accepted; None in a process without a launcher.

    Raises ConfigurationError when the file cannot be read.
    """
    named = os.environ.get(SNAPSHOT)
    if not named:
        return None
    try:
        layers: Any = json.loads(Path(named).read_text())
    except (OSError, ValueError) as error:
        raise unusable_snapshot(named) from error
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise unusable_snapshot(named)
    return layers


def unusable_snapshot(named: str) -> ConfigurationError:
    """Return the error with the snapshot's path and the remedy."""
    return ConfigurationError(
        f"{named}, written by `ccproxy serve`, cannot be used; start the stack again."
    )
