"""The source of a setting: the option, the variable, or the file and line; for `config show` and
for every complaint.

A TOML value's line is found by parsing ever longer beginnings of the file: it starts on the first
line that no shorter beginning could do without. So the line is right for multi-line values too,
with the one parser the settings use.
"""

from __future__ import annotations

import json
import operator
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import reduce
from pathlib import Path
from typing import Any

# `SETTING=--flag …`: which variables the command line put into this environment
OPTIONS = "CCPROXY_OPTIONS"
DEFAULT = "default"
ENV_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>\w+)\s*=\s*(?P<value>.*)")
NOTHING = {"", '""', "''"}

KeyPath = tuple[str, ...]

# Names that another program gives to a variable of ours. Our own name wins where both are set.
FOREIGN_NAMES = {"CLAUDE__OAUTH_TOKEN": "CLAUDE_CODE_OAUTH_TOKEN"}


def with_own_names(variables: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return `variables` (names in any case) with the value of each foreign name under our name
    too.
    """
    known = {name.upper(): value for name, value in variables.items()}
    added = {
        own.lower(): known[foreign]
        for own, foreign in FOREIGN_NAMES.items()
        if known.get(foreign) and not known.get(own)
    }
    return {**variables, **added}


class Origins:
    """The values of the command line, the environment, an `.env` file and TOML files, under their
    own names.

    `toml_files` are the TOML files in use, strongest first.
    """

    def __init__(
        self, environ: Mapping[str, str], env_file: Path, toml_files: Iterable[Path]
    ) -> None:
        given = (pair.partition("=") for pair in environ.get(OPTIONS, "").split())
        self._options = {name: flag for name, _, flag in given}
        self._environ = {name.upper(): value for name, value in environ.items() if value}
        self._env_file = env_file
        self._env_lines = lines_of_env(read_sources(env_file))
        self._toml = [
            (path, lines_of_toml(text), tables_of_toml(text))
            for path in toml_files
            for text in [read_sources(path)]
        ]

    def of(self, path: KeyPath) -> str:
        """Return the strongest source of the value at `path` (`("server", "port")`), or of the
        value around it.

        A table is the source of the keys that stand in it and of no others.
        """
        names = ["__".join(path[:length]).upper() for length in range(len(path), 0, -1)]
        spellings = [(name, name) for name in names]
        spellings += [(FOREIGN_NAMES[name], name) for name in names if name in FOREIGN_NAMES]
        # The longest name first: the variable of the setting itself is stronger than one of the
        # section around it.
        for name in names:
            if name in self._options:
                return f"command line {self._options[name]}"
        for spelt, name in spellings:
            if spelt in self._environ and has_key(self._environ[spelt], name, path):
                return f"environment {spelt}"
        for spelt, name in spellings:
            if spelt in self._env_lines and has_key(self.text(spelt), name, path):
                return f"{self._env_file}:{self._env_lines[spelt]}"
        for file, lines, tables in self._toml:
            line = line_of(lines, tables, path)
            if line is not None:
                return f"{file}:{line}"
        return DEFAULT

    def names(self) -> set[str]:
        """Every variable there is, in capitals."""
        return self._environ.keys() | self._env_lines.keys()

    def text(self, name: str) -> str:
        """Return the value of the variable, or None."""
        said = self._environ.get(name) or lines_said(read_sources(self._env_file)).get(name, "")
        return said.strip().strip("'")


def has_key(text: str, name: str, path: KeyPath) -> bool:
    """Return True if the variable `name` with the value `text` sets the value at `path`.

    A variable of one setting does; a variable of a section (`CLAUDE__OAUTH={"client_id": "x"}`)
    sets its own keys.
    """
    below = path[name.count("__") + 1 :]
    if not below:
        return True
    if "__" not in name:
        return False  # SDK=/opt/sdk is somebody else's variable
    try:
        value = json.loads(text)
    except ValueError:
        return True
    return not isinstance(value, dict) or below[0] in value


def line_of(lines: Mapping[KeyPath, int], tables: Set[KeyPath], path: KeyPath) -> int | None:
    """Return the line of the key at `path`, or of the value around the key if the value is no
    table.
    """
    for length in range(len(path), 0, -1):
        key = path[:length]
        if key in lines and (length == len(path) or key not in tables):
            return lines[key]
    return None


def read_sources(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def lines_of_env(text: str) -> dict[str, int]:
    """Return the line of the last assignment of every variable."""
    return {name: number for name, (number, _) in env_lines(text)}


def lines_said(text: str) -> dict[str, str]:
    return {name: said for name, (_, said) in env_lines(text)}


def env_lines(text: str) -> Iterator[tuple[str, tuple[int, str]]]:
    """Yield the assignments with line numbers and raw values."""
    for number, line in enumerate(text.splitlines(), 1):
        match = ENV_LINE.match(line)
        if match and match["value"].strip() not in NOTHING:
            yield match["name"].upper(), (number, match["value"].strip())


def lines_of_toml(text: str) -> dict[KeyPath, int]:
    """Return the lines of the keys' values; an empty mapping for an unparsable file."""
    found: dict[KeyPath, int] = {}
    lines = text.splitlines(keepends=True)
    begins = 1
    # A beginning that cannot be parsed ends inside a value. The keys that a longer one adds stand
    # on the lines since the last beginning that could.
    for number in range(1, len(lines) + 1):
        try:
            parsed = tomllib.loads("".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        for path in paths(parsed):
            found.setdefault(path, begins)
        begins = number + 1
    return found if begins > len(lines) else {}


def tables_of_toml(text: str) -> set[KeyPath]:
    """Return the paths of the tables in a file; none of a file that cannot be parsed."""
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return set()
    return {
        path for path in paths(parsed) if isinstance(reduce(operator.getitem, path, parsed), dict)
    }


def paths(table: Mapping[str, Any], above: KeyPath = ()) -> Iterator[KeyPath]:
    for key, value in table.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from paths(value, (*above, key))
