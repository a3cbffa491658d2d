"""The configuration files: what they are, where they lie, and what each says.

A working folder may have a `.env` and one TOML file (`.ccproxy.toml`, else `ccproxy.toml`). The
owner has one TOML file that holds in every folder: `config.toml` in the configuration directory.
CONFIG_FILE names one file in place of both TOML files. Each file is read once, so the content that
was checked is the content that is used.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from shared.settings.guarded import Values, digest_of, flat, split_guarded
from shared.settings.places import config_dir
from shared.settings.problems import ConfigurationError, name_of, unknown
from shared.settings.sources import Origins, with_own_names

HERE = Path()
ENV_FILE = ".env"
FOLDER_TOML = (".ccproxy.toml", "ccproxy.toml")

Tree = type[BaseSettings]


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """A file and the file's settings. `owned` is False for a file in a working folder."""

    path: Path
    owned: bool
    guarded: Values
    rest: Values

    def guarded_names(self, tree: Tree) -> list[str]:
        return sorted(name_of(path) for path, _ in flat(tree, self.guarded))

    def digest(self) -> str:
        return digest_of(self.guarded)


class FileLayer(PydanticBaseSettingsSource):
    """Settings read from files before."""

    def __init__(self, settings_cls: type[BaseSettings], values: Values) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        del field
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._values


def own_file() -> Path:
    """Return the path of the owner's own TOML file, even of a missing file."""
    named = os.environ.get("CONFIG_FILE")
    return Path(named) if named else config_dir() / "config.toml"


def toml_candidates(folder: Path = HERE) -> list[Path]:
    """Return the places of TOML files, strongest first, the owner's own last; CONFIG_FILE leaves
    only its own.
    """
    if os.environ.get("CONFIG_FILE"):
        return [own_file()]
    return [*(folder / name for name in FOLDER_TOML), own_file()]


def toml_files(folder: Path = HERE) -> list[Path]:
    """Return the TOML files in use, strongest first: at most one of the folder, then the owner's
    own.

    Raises ConfigurationError when the file that CONFIG_FILE names does not exist.
    """
    named = os.environ.get("CONFIG_FILE")
    if named and not Path(named).exists():
        raise ConfigurationError(f"The configuration file {named} does not exist.")
    *in_folder, own = toml_candidates(folder)
    first = next((path for path in in_folder if path.exists()), None)
    found = [first] if first else []
    return [*found, own] if own.exists() else found


def toml_file() -> Path | None:
    """Return the strongest TOML file in use. Raises ConfigurationError as `toml_files`."""
    return next(iter(toml_files()), None)


def origins_here(folder: Path = HERE) -> Origins:
    """Return the source of every value, for this process in `folder`. Raises ConfigurationError as
    `toml_files`.
    """
    return Origins(os.environ, folder / ENV_FILE, toml_files(folder))


def read_files(
    tree: Tree, folder: Path = HERE, *, with_env: bool = True
) -> list[ConfigurationFile]:
    """Return every file in use with the file's settings, strongest first.

    Raises ConfigurationError for an unreadable file, ValueError for a variable whose value is not
    JSON.
    """
    return list(_read_files(tree, folder, with_env=with_env))


def read_configuration(tree: Tree, path: Path) -> ConfigurationFile:
    """Return a file with the file's settings, from any place. Raises as `read_files`."""
    if path.name == ENV_FILE:
        return _file(tree, path, _read_env(tree, path))
    return _file(tree, path, read_toml(path))


def _read_files(tree: Tree, folder: Path, *, with_env: bool) -> Iterator[ConfigurationFile]:
    env_file = folder / ENV_FILE
    # A named pipe is read too: some programs hand over secrets in one.
    if with_env and (env_file.is_file() or env_file.is_fifo()):
        yield read_configuration(tree, env_file)
    for path in toml_files(folder):
        yield _file(tree, path, read_toml(path))


def unknown_sections(tree: Tree, files: Iterable[ConfigurationFile], origins: Origins) -> list[str]:
    """Return a complaint for every section of `files` missing from `tree`."""
    unknown_paths = [name for file in files for name in file.rest if name not in tree.model_fields]
    return [unknown((name,), origins, tree) for name in dict.fromkeys(unknown_paths)]


def _file(tree: Tree, path: Path, values: Values) -> ConfigurationFile:
    guarded, rest = split_guarded(tree, values)
    # By the real path: a link in a working folder to the owner's file is the owner's file.
    owned = os.path.realpath(path) == os.path.realpath(own_file())
    return ConfigurationFile(path, owned, guarded, rest)


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The configuration file {path} cannot be read: {error}."
        ) from error


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file. Raises ConfigurationError naming file and line."""
    try:
        return tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"The configuration file {path} is not valid TOML: {error}."
        ) from error


def _read_env(tree: Tree, path: Path) -> Values:
    """Return the settings in a file of variables, nested as in the tree."""
    variables = with_own_names(dotenv_values(stream=StringIO(_read_text(path))))
    source = EnvSettingsSource(tree)
    source.env_vars = {
        name.lower(): value for name, value in variables.items() if value and "__" in name
    }
    return source()
