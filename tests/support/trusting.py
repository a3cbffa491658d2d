"""Consent to configuration files, as `ccproxy config trust` gives it."""

from __future__ import annotations

from pathlib import Path

from shared.settings.files import read_files
from shared.settings.tree import Settings
from shared.settings.trust import TrustedFiles


def trust_folder(folder: Path = Path()) -> None:
    """Trust the files of `folder` with their guarded settings as they are now, and the owner's own
    file.
    """
    for file in read_files(Settings, folder):
        TrustedFiles().trust(file)
