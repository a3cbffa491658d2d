"""Configuration files that our own commands write: for their owner alone, and trusted as they are
written.
"""

from __future__ import annotations

from pathlib import Path

from shared.runtime.files import replace_private
from shared.settings.files import read_configuration
from shared.settings.problems import ConfigurationError
from shared.settings.tree import Settings
from shared.settings.trust import TrustedFiles


def write_configuration(path: Path, text: str) -> None:
    """Replace the TOML file at `path` with `text`, mode 0600, and trust its guarded settings: all
    of `text` is ours.

    Raises ConfigurationError, and then leaves the file as it was.
    """
    try:
        replace_private(path, text)
        written = read_configuration(Settings, path)
        if written.guarded:
            TrustedFiles().trust(written)
    except OSError as error:
        raise ConfigurationError(
            f"The configuration file {path} cannot be written: {error.strerror}."
        ) from error
