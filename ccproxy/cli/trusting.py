"""`ccproxy config trust`: show what the guarded settings of files would change, ask, and remember
the consent.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, FAILED, USAGE
from ccproxy.cli.output import show_table
from ccproxy.cli.shown import value_text, values
from shared.settings.files import (
    ENV_FILE,
    ConfigurationFile,
    read_configuration,
    read_files,
    toml_candidates,
)
from shared.settings.problems import ConfigurationError
from shared.settings.tree import Settings, load_settings
from shared.settings.trust import PinnedSettings, TrustedFiles, pinned_from

UNSET = "(unset)"


def trust_files(paths: list[Path], *, show_only: bool, revoke: bool, yes: bool) -> int:
    """Trust the files at `paths`, or in the folders among `paths`, and return the exit code.

    `show_only` shows and changes nothing; `revoke` ends the trust instead; `yes` asks nobody.
    Raises ConfigurationError for a file that cannot be used.
    """
    if revoke:
        return revoke_trust(paths)
    try:
        files = [file for path in paths for file in files_at(path) if file.guarded]
        rows = [row for file in files for row in changes_by(file)]
    except ValueError as error:
        raise ConfigurationError(f"The file cannot be used: {error}.") from error
    if not files:
        say("There is nothing to trust: no guarded setting is set there.")
        return DONE
    show_table(("FILE", "SETTING", "WITHOUT IT", "WITH IT"), rows)
    if show_only:
        return DONE
    if not yes and not sys.stdin.isatty():
        say(
            "Nothing was trusted: there is no terminal to ask at; add --yes once you have looked "
            "at the table."
        )
        return USAGE
    if not yes and not typer.confirm("Trust these settings?", err=True):
        say("Nothing was trusted.")
        return FAILED
    trusted = TrustedFiles()
    for file in files:
        remember(trusted, file)
        say(f"{file.path} is trusted with these settings.")
    return DONE


def remember(trusted: TrustedFiles, file: ConfigurationFile) -> None:
    """Raises ConfigurationError when the list of trusted files cannot be written."""
    try:
        trusted.trust(file)
    except OSError as error:
        raise ConfigurationError(
            f"The list of trusted files cannot be written: {error}."
        ) from error


def revoke_trust(paths: list[Path]) -> int:
    trusted = TrustedFiles()
    places = [
        place for path in paths for place in (candidates_in(path) if path.is_dir() else [path])
    ]
    revoked = [place for place in places if trusted.revoke(place)]
    for place in revoked:
        say(f"{place} is trusted no longer.")
    if not revoked:
        say("No such file was trusted.")
    return DONE


def candidates_in(folder: Path) -> list[Path]:
    """Return the places of a folder's own configuration files."""
    *in_folder, _ = toml_candidates(folder)
    return [folder / ENV_FILE, *in_folder]


def files_at(path: Path) -> list[ConfigurationFile]:
    """Return the configuration files of a folder, or the file at `path`. Raises
    ConfigurationError.
    """
    if path.is_dir():
        return [file for file in read_files(Settings, path) if not file.owned]
    if not path.exists():
        raise ConfigurationError(f"{path} does not exist.")
    return [read_configuration(Settings, path)]


def changes_by(file: ConfigurationFile) -> Iterator[tuple[str, str, str, str]]:
    """Yield the file, the setting, the value without the file and the value with the file; secrets
    are masked.

    Raises ConfigurationError for a value that no setting takes.
    """
    own = pinned_from(read_files(Settings)).own
    before = values(load_settings(pinned=PinnedSettings([], [] if file.owned else own)))
    after = values(load_settings(pinned=PinnedSettings([file.guarded], own)))
    for name in file.guarded_names(Settings):
        yield str(file.path), name, shown_value(before.get(name)), shown_value(after.get(name))


def shown_value(value: Any) -> str:
    return UNSET if value is None else value_text(value)
