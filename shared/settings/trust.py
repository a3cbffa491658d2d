"""Trust in the configuration files of working folders, and in changes while the stack runs.

A folder's file comes with a cloned repository, and an agent can write it. Its guarded settings
(`shared/settings/guarded.py`) hold at start only when the owner has trusted them once (`ccproxy
config trust`); else the start is refused. Trust is for one path and one set of guarded values: any
other file, or other values, are not trusted.

While a stack runs, its guarded settings are pinned: every process of the stack, also one that is
started again later, takes them from the launcher's copy and not from the files. Only the owner's
own file can change them live, and only with values that the owner has trusted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shared.runtime.files import replace_private
from shared.settings.files import ConfigurationFile, Tree, read_files
from shared.settings.guarded import Values, flat
from shared.settings.places import state_dir
from shared.settings.problems import ConfigurationError, name_of

# names the launcher's copy, in the environment of the stack's processes
PINNED = "CCPROXY_PINNED_SETTINGS"
WHY = "where credentials go, which programs run, or who may come in"


def trust_file() -> Path:
    return state_dir() / "trusted.json"


class TrustedFiles:
    """The files trusted by the owner, with their guarded values; stored in `path`, mode 0600."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or trust_file()

    def trusts(self, file: ConfigurationFile) -> bool:
        """Return True if the owner has trusted exactly the guarded values of `file`."""
        return self._digests().get(_place(file.path)) == file.digest()

    def has_seen(self, file: ConfigurationFile) -> bool:
        """Return True if the owner has trusted `file`, perhaps with different values."""
        return _place(file.path) in self._digests()

    def trust(self, file: ConfigurationFile) -> None:
        """Raises OSError when the state directory cannot be written."""
        self._write(self._digests() | {_place(file.path): file.digest()})

    def revoke(self, path: Path) -> bool:
        """Forget the trust in the file at `path`. Return False if there was none.
        Raises OSError.
        """
        digests = self._digests()
        known = digests.pop(_place(path), None) is not None
        if known:
            self._write(digests)
        return known

    def _digests(self) -> dict[str, str]:
        """Return the digests of the trusted files; none when the list is missing or damaged."""
        try:
            kept: Any = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return (
            {str(place): str(digest) for place, digest in kept.items()}
            if isinstance(kept, dict)
            else {}
        )

    def _write(self, digests: Mapping[str, str]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_private(self._path, json.dumps(digests, indent=1))


def _place(path: Path) -> str:
    return os.path.realpath(path)


@dataclass(frozen=True, slots=True)
class PinnedSettings:
    """The guarded settings of the files as they were when the stack started: the folder's,
    strongest first, and the owner's.
    """

    folder: list[Values]
    own: list[Values]

    def as_json(self) -> str:
        return json.dumps(asdict(self), default=str)


def untrusted(files: Iterable[ConfigurationFile], trusted: TrustedFiles) -> list[ConfigurationFile]:
    """Return the folder's files with guarded settings not trusted by the owner."""
    return [file for file in files if file.guarded and not file.owned and not trusted.trusts(file)]


def refuse_untrusted(
    tree: Tree, files: Iterable[ConfigurationFile], trusted: TrustedFiles | None = None
) -> None:
    """Raise ConfigurationError, a sentence, if a folder's file sets guarded settings without the
    owner's trust.
    """
    trusted = trusted or TrustedFiles()
    found = untrusted(files, trusted)
    if not found:
        return
    said = []
    for file in found:
        changed = " has changed since you trusted it and" if trusted.has_seen(file) else ""
        said.append(f"{file.path}{changed} sets {', '.join(file.guarded_names(tree))}")
    paths = " ".join(str(file.path) for file in found)
    raise ConfigurationError(
        f"{'; '.join(said)}; these decide {WHY}, and a file of a working folder sets them only "
        f"with your consent: look at them and accept them with `ccproxy config trust {paths}`, or "
        "remove them."
    )


def pin_settings(tree: Tree) -> PinnedSettings:
    """Return the guarded settings of this process: the launcher's copy, else the guarded settings
    of the files now.

    Raises ConfigurationError for an untrusted file, or if the launcher's copy is gone.
    """
    pinned = pinned_by_launcher()
    if pinned is not None:
        return pinned
    files = read_files(tree)
    refuse_untrusted(tree, files)
    return pinned_from(files)


def pinned_from(files: Iterable[ConfigurationFile]) -> PinnedSettings:
    """Return the guarded settings of `files`, trusted or not."""
    folder = [file.guarded for file in files if not file.owned]
    return PinnedSettings(folder, [file.guarded for file in files if file.owned])


def pinned_by_launcher() -> PinnedSettings | None:
    """Return the launcher's copy; None in a process without a launcher. Raises
    ConfigurationError.
    """
    named = os.environ.get(PINNED)
    if not named:
        return None
    try:
        return PinnedSettings(**json.loads(Path(named).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{named}, written by `ccproxy serve`, cannot be read; start the stack again."
        ) from error


def layers_of(
    files: list[ConfigurationFile],
    pinned: PinnedSettings | None,
    trusted: TrustedFiles | None = None,
) -> list[Values]:
    """Return the settings of `files`, strongest first; with `pinned`, the guarded settings are the
    pinned ones.
    """
    rest = [file.rest for file in files]
    if pinned is None:
        now = pinned_from(files)
        return [*now.folder, *now.own, *rest]
    trusted = trusted or TrustedFiles()
    # Changed guarded settings hold live only from the owner's own file and only with trusted
    # values; else the values of the start go on.
    live = [file.guarded for file in files if file.owned and trusted.trusts(file)]
    return [*pinned.folder, *(live or pinned.own), *rest]


def advance_pinned(
    files: list[ConfigurationFile], pinned: PinnedSettings, trusted: TrustedFiles | None = None
) -> PinnedSettings:
    """Return `pinned` with the current content of the owner's file, if trusted, and keep it for
    restarts of services.

    Without this step a later edit of the file, untrusted, would bring back the settings of the
    start, and so take away a token that the owner has set since. Raises OSError when the launcher's
    copy cannot be written.
    """
    trusted = trusted or TrustedFiles()
    live = [file.guarded for file in files if file.owned and trusted.trusts(file)]
    if not live or live == pinned.own:
        return pinned
    advanced = PinnedSettings(pinned.folder, live)
    named = os.environ.get(PINNED)
    if named:
        replace_private(Path(named), advanced.as_json())
    return advanced


def waiting_changes(
    tree: Tree,
    files: list[ConfigurationFile],
    pinned: PinnedSettings,
    trusted: TrustedFiles | None = None,
) -> dict[str, list[str]]:
    """Return the guarded settings of `files` that differ from `pinned` and are not in force. The
    key is `folder` or `own`, for the owner of the file; the value names the settings.
    """
    trusted = trusted or TrustedFiles()
    now = pinned_from(files)
    found = {"folder": _differing(tree, now.folder, pinned.folder)}
    if not any(file.owned and trusted.trusts(file) for file in files):
        found["own"] = _differing(tree, now.own, pinned.own)
    return {whose: names for whose, names in found.items() if names}


def _differing(tree: Tree, now: list[Values], before: list[Values]) -> list[str]:
    new, old = (
        {path: value for layer in reversed(layers) for path, value in flat(tree, layer)}
        for layers in (now, before)
    )
    return sorted(
        name_of(path) for path in new.keys() | old.keys() if new.get(path) != old.get(path)
    )
