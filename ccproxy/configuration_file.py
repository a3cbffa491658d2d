"""Configuration files that our own commands write: for their owner alone, and trusted as they are written."""

from __future__ import annotations

from pathlib import Path

from shared.complaints import ConfigurationError
from shared.configuration_files import read_file
from shared.files import replace_private
from shared.settings import Settings
from shared.trust import TrustedFiles


def write_configuration(path: Path, text: str) -> None:
    """Replace the TOML file at `path` with `text`, mode 0600, and trust its guarded settings: all of `text` is ours.

    Raises ConfigurationError, and then leaves the file as it was.
    """
    try:
        replace_private(path, text)
        written = read_file(Settings, path)
        if written.guarded:
            TrustedFiles().trust(written)
    except OSError as error:
        raise ConfigurationError(f"The configuration file {path} cannot be written: {error.strerror}.") from error
