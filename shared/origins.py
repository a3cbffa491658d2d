"""Where a setting was said: the option, the variable, or the file and line; for `config show` and for every complaint.

A TOML value's line is found by parsing ever longer beginnings of the file: it starts on the first line that no shorter
beginning could do without. So the line is right for multi-line values too, with the one parser the settings use.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

OPTIONS = "CCPROXY_OPTIONS"  # `SETTING=--flag …`: which variables the command line put into this environment
DEFAULT = "default"
ENV_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>\w+)\s*=\s*(?P<value>.*)")
NOTHING = {"", '""', "''"}

KeyPath = tuple[str, ...]


class Origins:
    """What the command line, the environment, an `.env` file and a TOML file say, by the name they say it under."""

    def __init__(self, environ: Mapping[str, str], env_file: Path, toml_file: Path | None) -> None:
        given = (pair.partition("=") for pair in environ.get(OPTIONS, "").split())
        self._options = {name: flag for name, _, flag in given}
        self._environ = {name.upper(): value for name, value in environ.items() if value}
        self._env_file, self._env_lines = env_file, lines_of_env(read(env_file))
        self._toml_file, self._toml_lines = toml_file, lines_of_toml(read(toml_file)) if toml_file else {}

    def of(self, path: KeyPath) -> str:
        """Who has the last word about the setting at `path` (`("server", "port")`), or about what contains it."""
        prefixes = [path[:length] for length in range(len(path), 0, -1)]
        names = ["__".join(prefix).upper() for prefix in prefixes]
        for name in names:
            if name in self._options:
                return f"command line {self._options[name]}"
        for name in names:
            if name in self._environ:
                return f"environment {name}"
        for name in names:
            if name in self._env_lines:
                return f"{self._env_file}:{self._env_lines[name]}"
        for prefix in prefixes:
            if prefix in self._toml_lines:
                return f"{self._toml_file}:{self._toml_lines[prefix]}"
        return DEFAULT

    def names(self) -> set[str]:
        """Every variable there is, in capitals."""
        return self._environ.keys() | self._env_lines.keys()

    def text(self, name: str) -> str:
        """What the variable says, or nothing."""
        said = self._environ.get(name) or lines_said(read(self._env_file)).get(name, "")
        return said.strip().strip("'")


def origins_here(toml_file: Path | None) -> Origins:
    return Origins(os.environ, Path(".env"), toml_file)


def read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def lines_of_env(text: str) -> dict[str, int]:
    """The line on which each variable is last given a value."""
    return {name: number for name, (number, _) in env_lines(text)}


def lines_said(text: str) -> dict[str, str]:
    return {name: said for name, (_, said) in env_lines(text)}


def env_lines(text: str) -> Iterator[tuple[str, tuple[int, str]]]:
    """Each assignment with its line number and its value as it stands there."""
    for number, line in enumerate(text.splitlines(), 1):
        match = ENV_LINE.match(line)
        if match and match["value"].strip() not in NOTHING:
            yield match["name"].upper(), (number, match["value"].strip())


def lines_of_toml(text: str) -> dict[KeyPath, int]:
    """The line on which each key's value begins; no key of a file that cannot be parsed."""
    found: dict[KeyPath, int] = {}
    lines = text.splitlines(keepends=True)
    begins = 1
    for number in range(1, len(lines) + 1):
        try:
            parsed = tomllib.loads("".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        for path in paths(parsed):
            found.setdefault(path, begins)
        begins = number + 1
    return found if begins > len(lines) else {}


def paths(table: Mapping[str, Any], above: KeyPath = ()) -> Iterator[KeyPath]:
    for key, value in table.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from paths(value, (*above, key))
