"""Configuration files that our own commands write: checked before they replace a file, and trusted
where all of their guarded settings are ours.

Invariant: a file that the stack could not use never takes the place of another.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from shared.runtime.files import PRIVATE, replacement
from shared.settings.files import read_configuration
from shared.settings.problems import ConfigurationError
from shared.settings.tree import Settings, load_settings
from shared.settings.trust import TrustedFiles


def write_configuration(path: Path, text: str) -> None:
    """Replace the TOML file at `path` with `text`, mode 0600, and trust its guarded settings: all
    of `text` is ours.

    Raises ConfigurationError, and then leaves the file as it was.
    """
    with _draft_of(path, text, mode=PRIVATE) as draft:
        _trust(draft, path)


def edit_configuration(
    path: Path, section: str, values: Mapping[str, Any], *, guarded: bool
) -> None:
    """Put `values` into the table `section` of the TOML file at `path`; the rest of the file stays,
    its comments included. A missing file is made.

    With `guarded` values the file becomes its owner's alone and its guarded settings trusted;
    without, it keeps its mode, and the owner's trust is not touched. Raises ConfigurationError, and
    then leaves the file as it was.
    """
    try:
        document = tomlkit.parse(path.read_text() if path.exists() else "")
        document.setdefault(section, tomlkit.table()).update(values)
    except (TOMLKitError, AttributeError, OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The configuration file {path} cannot be edited: {error}."
        ) from error
    with _draft_of(path, tomlkit.dumps(document), mode=PRIVATE if guarded else None) as draft:
        # Read as the stack would read it: a value that no setting takes never gets there.
        settings_with(draft)
        if guarded:
            _trust(draft, path)


def settings_with(path: Path) -> Settings:
    """Return the settings of a program started with the file at `path`. Raises ConfigurationError
    for an unusable file.
    """
    named = os.environ.get("CONFIG_FILE")
    os.environ["CONFIG_FILE"] = str(path)
    try:
        return load_settings()
    finally:
        if named is None:
            del os.environ["CONFIG_FILE"]
        else:
            os.environ["CONFIG_FILE"] = named


@contextlib.contextmanager
def _draft_of(path: Path, text: str, *, mode: int | None) -> Iterator[Path]:
    """Yield a draft with `text`, which replaces `path` at the end of the block. Raises
    ConfigurationError, with the name of `path` in place of the draft's.
    """
    try:
        with replacement(path, mode=mode) as file:
            file.write(text.encode())
            file.flush()
            draft = Path(file.name)
            try:
                yield draft
            except ConfigurationError as error:
                raise ConfigurationError(error.message.replace(str(draft), str(path))) from error
    except OSError as error:
        raise ConfigurationError(
            f"The configuration file {path} cannot be written: {error.strerror}."
        ) from error


def _trust(draft: Path, path: Path) -> None:
    """Trust the guarded settings of `draft` at `path`. Raises ConfigurationError or OSError."""
    # Before the rename: a file that no longer has the owner's trust ends the stack.
    written = read_configuration(Settings, draft)
    if written.guarded:
        TrustedFiles().trust(replace(written, path=path))
