"""The paths no tool may touch, whatever the rules and the people say: logins, keys, and what guards
this program.

A request that names a protected path is denied. A request that may reach one unseen (`grep -r x .`
beside a `.env`, a word only the shell knows) is never allowed by a rule. The list is about what a
call names: a program that was allowed and opens a file by itself is not seen here.

Invariant: the built-in list can be made longer by `SECURITY__PROTECTED_PATHS`, never shorter.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.accounts.claude import login_files
from shared.accounts.codex import auth_file
from shared.bus.channels import PermissionRequest
from shared.permissions.commands import ANY_LETTER, ANY_TEXT, UNKNOWN, WILDCARDS
from shared.permissions.mentions import Mention, mentions_of
from shared.permissions.paths import folded, normalised
from shared.settings.files import toml_candidates
from shared.settings.places import config_dir, default_data_dir, default_workspace, state_dir
from shared.settings.tree import Settings, captures_dir

# Below the home folder: nothing reads or writes these. Keys, logins, saved passwords.
SECRETS_AT_HOME = (
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".config/gcloud",
    ".kube",
    ".docker/config.json",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".config/gh",
    ".config/hub",
    ".config/glab-cli",
    ".config/rclone",
    ".config/op",
    ".config/git/credentials",
    ".git-credentials",
    ".terraform.d/credentials.tfrc.json",
    ".vault-token",
    ".password-store",
    ".pgpass",
    ".my.cnf",
    ".claude.json",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    "Library/Keychains",
    ".mozilla",
    ".thunderbird",
    ".config/google-chrome",
    ".config/chromium",
    ".config/microsoft-edge",
    ".config/BraveSoftware",
    "Library/Application Support/Google/Chrome",
    "Library/Application Support/Firefox",
    "Library/Application Support/BraveSoftware",
)
# Below the home folder: nothing writes these. Programs run what they say at the next login or the
# next command.
STARTED_FROM_HOME = (
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".zlogout",
    ".kshrc",
    ".cshrc",
    ".tcshrc",
    ".config/fish",
    ".xprofile",
    ".xinitrc",
    ".pam_environment",
    ".gitconfig",
    ".config/git",
    ".config/systemd",
    ".config/autostart",
    ".config/environment.d",
    "Library/LaunchAgents",
)
# In any folder: nothing reads or writes these.
SECRETS_ANYWHERE = (
    ".ssh",
    ".gnupg",
    ".aws/credentials",
    ".claude/.credentials.json",
    ".codex/auth.json",
    ".git-credentials",
    ".netrc",
)
# In any folder: nothing writes these. Git and Claude Code run what they say.
STARTED_ANYWHERE = (".git/hooks", ".git/config", ".claude", ".mcp.json")
# Other programs seen through the system: their environment, memory and files.
OTHER_PROGRAMS = ("environ", "mem", "root", "cwd", "fd", "task")
# Files of the folder `ccproxy` was started in.
CONFIGURATION_OF_A_FOLDER = (".env", ".ccproxy.toml", "ccproxy.toml")

Place = Literal["in", "above", "unclear"]


@dataclass(frozen=True, slots=True)
class ProtectedPath:
    """A row of the list. `anywhere`: `path` is a tail and counts in every folder; else `path` is
    absolute.

    A row that is closed for neither reading nor writing opens a folder within another row, such as
    the agent's own working folder within the data folder.
    """

    path: str
    why: str
    reads: bool = True
    writes: bool = True
    anywhere: bool = False

    @property
    def is_open(self) -> bool:
        return not self.reads and not self.writes

    def closed_for(self, mention: Mention) -> bool:
        return self.reads or (self.writes and mention.writes)


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in folded(path).split("/") if part)


class ProtectedPaths:
    """The protected paths of an installation."""

    def __init__(self, rows: Iterable[ProtectedPath], home: str) -> None:
        self.rows = list(dict.fromkeys(rows))
        self._parts = [_parts(row.path) for row in self.rows]
        self._home = home

    @classmethod
    def of(cls, settings: Settings, start_folder: Path, home: Path) -> ProtectedPaths:
        """Return the protected paths for `settings`. `start_folder` is the folder of the start of
        `ccproxy`.
        """
        rows = [*_rows_of_home(home), *_rows_anywhere(), *_rows_of_settings(settings, start_folder)]
        rows += _rows_added(settings.security.protected_paths, home)
        # A folder given by a link is protected under both names.
        resolved = [
            ProtectedPath(real, row.why, row.reads, row.writes)
            for row in rows
            if not row.anywhere and (real := os.path.realpath(row.path)) != row.path
        ]
        return cls([*rows, *resolved], str(home))

    def touched_by(self, request: PermissionRequest) -> str | None:
        """Return the denial of the request with the named protected path; None without a protected
        path.
        """
        for mention in mentions_of(request, self._home).paths:
            if mention.certain:
                row = self._row_around(mention)
                if row is not None:
                    return f"{row.path} is protected: {row.why}"
        return None

    def may_be_touched_by(self, request: PermissionRequest) -> str | None:
        """Return why no rule may allow the request: a protected path it may reach unseen; None when
        there is none.
        """
        mentions = mentions_of(request, self._home)
        if mentions.unclear:
            return f"{mentions.unclear}, and may reach a protected path"
        for mention in mentions.paths:
            row = self._row_around(mention) or self._row_within_reach(mention)
            if row is not None:
                return f"the request may reach {row.path}, which is protected: {row.why}"
        return None

    def _row_around(self, mention: Mention) -> ProtectedPath | None:
        """Return the closing row for the path: the deepest row around the path, down to an open
        row.
        """
        around = [(depth, row) for row, place, depth in self._places(mention) if place == "in"]
        # The deepest row decides first: an open folder inside a closed one is open, and a closed
        # name inside that is closed again. Of rows of the same depth the open one is last, so that
        # it does not open what another one closes.
        for _, row in sorted(around, key=lambda found: (-found[0], found[1].is_open)):
            if row.is_open:
                return None
            if row.closed_for(mention):
                return row
        return None

    def _row_within_reach(self, mention: Mention) -> ProtectedPath | None:
        """Return a row within a call's reach from the path: below it, or behind a word for the
        shell to expand.
        """
        for row, place, _ in self._places(mention):
            reachable = place == "unclear" or (place == "above" and mention.walks)
            if reachable and row.closed_for(mention):
                return row
        return None

    def _places(self, mention: Mention) -> Iterator[tuple[ProtectedPath, Place, int]]:
        """Yield each row the path has to do with, and how many names of the path the
        row takes up.
        """
        path = _parts(mention.path)
        compare = _compare_exact if WILDCARDS.isdisjoint(mention.path) else _compare
        for row, wanted in zip(self.rows, self._parts, strict=True):
            # A row for any folder may begin at every name of the path.
            for start in range(len(path)) if row.anywhere else (0,):
                place = compare(path[start:], wanted)
                if place is not None:
                    yield row, place, start + len(wanted)


def _compare_exact(path: tuple[str, ...], wanted: tuple[str, ...]) -> Place | None:
    """Return the same as `_compare` for a path without WILDCARDS, in a tenth of the time."""
    for part, name in zip(path, wanted, strict=False):
        if name not in {part, "*"}:
            return None
    return "in" if len(path) >= len(wanted) else "above"


def _compare(path: tuple[str, ...], wanted: tuple[str, ...]) -> Place | None:
    """Return the position of a path, perhaps with wildcards, relative to a protected one; None if
    elsewhere.
    """
    sure = True
    for index, name in enumerate(wanted):
        if index >= len(path):
            return "above"
        part = path[index]
        # Of a part that only the shell knows, the letters before the unknown are all there is to
        # compare.
        known, unknown, _ = part.partition(UNKNOWN)
        if unknown or ANY_TEXT * 2 in part:
            known = known.partition(ANY_TEXT)[0].partition(ANY_LETTER)[0]
            return "unclear" if name == "*" or name.startswith(known) else None
        if name != "*" and not _fits(part, name):
            return None
        # A bare `*` means whatever is there, not this name.
        sure = sure and bool(set(part) - WILDCARDS)
    return "in" if sure else "unclear"


def _fits(pattern: str, name: str) -> bool:
    """Return True when a name fits a pattern of one path part, as a shell compares: no wildcard
    takes a first dot.
    """
    if name.startswith(".") and pattern.startswith((ANY_TEXT, ANY_LETTER)):
        return False
    # The usual two-finger walk: on a mismatch go back to the last ANY_TEXT, and let it take one
    # letter more.
    at = 0
    place = 0
    star = -1
    mark = 0
    while at < len(name):
        letter = pattern[place] if place < len(pattern) else ""
        if letter == ANY_TEXT:
            star = place
            mark = at
            place += 1
        elif letter and letter in {name[at], ANY_LETTER}:
            at += 1
            place += 1
        elif star >= 0:
            mark += 1
            at = mark
            place = star + 1
        else:
            return False
    return all(letter == ANY_TEXT for letter in pattern[place:])


def _rows_of_home(home: Path) -> Iterator[ProtectedPath]:
    for name in SECRETS_AT_HOME:
        yield ProtectedPath(normalised(f"{home}/{name}"), "logins and keys")
    for name in STARTED_FROM_HOME:
        yield ProtectedPath(normalised(f"{home}/{name}"), "programs run what it says", reads=False)
    # Claude Code writes its plans with the Write tool.
    yield ProtectedPath(normalised(f"{home}/.claude/plans"), "open", reads=False, writes=False)
    for name in OTHER_PROGRAMS:
        yield ProtectedPath(f"/proc/*/{name}", "other programs")


def _rows_anywhere() -> Iterator[ProtectedPath]:
    for name in SECRETS_ANYWHERE:
        yield ProtectedPath(name, "logins and keys", anywhere=True)
    for name in STARTED_ANYWHERE:
        yield ProtectedPath(name, "programs run what it says", reads=False, anywhere=True)


def _rows_of_settings(settings: Settings, start_folder: Path) -> Iterator[ProtectedPath]:
    """Yield our own files, the login files in use, and the open folders within our own files."""

    def row(path: Path, why: str) -> ProtectedPath:
        return ProtectedPath(normalised(str(start_folder / path.expanduser())), why)

    names = [Path(name) for name in CONFIGURATION_OF_A_FOLDER]
    ours = [settings.security.permission_rules_file, settings.security.tokens_file]
    for path in [*names, *toml_candidates(), config_dir(), *ours]:
        yield row(path, "the configuration of ccproxy")
    database = settings.observability.duckdb_path
    records = [database, database.with_name(database.name + ".wal"), database.with_name("spool")]
    for path in [
        *records,
        captures_dir(settings),
        default_data_dir(),
        state_dir(),
        settings.server.run_dir,
    ]:
        yield row(path, "the data of ccproxy")
    logins = [*login_files(settings.claude, os.environ), auth_file(settings.codex, os.environ)]
    for path in logins:
        yield row(path, "a login")
    options = settings.claude.code_options
    for folder in (default_workspace(), options.cwd, *settings.sdk.working_roots):
        if folder is not None:
            opened = normalised(str(start_folder / folder.expanduser()))
            yield ProtectedPath(opened, "open", reads=False, writes=False)


def _rows_added(paths: Iterable[str], home: Path) -> Iterator[ProtectedPath]:
    """Yield the rows of the owner: absolute paths, paths from `~`, and names that count in every
    folder.
    """
    for path in paths:
        if path.startswith("~"):
            path = f"{home}/{path.removeprefix('~')}"
        anywhere = not path.startswith("/")
        known = normalised(path)
        yield ProtectedPath(
            known.removeprefix("/") if anywhere else known, "your list", anywhere=anywhere
        )
