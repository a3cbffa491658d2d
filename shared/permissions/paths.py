"""Paths of files by their spelling alone: nothing here looks at a disk.

A path is plain when every program reads it the same way. Any other spelling is left to a person.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

# Spellings that some programs expand, decode or trim: home folders, escapes, white space at the
# ends, the way up.
NOT_PLAIN = re.compile(
    r"^[\s~]|\s$|[%$\\\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef]|^[A-Za-z][A-Za-z0-9+.-]+:/"
)
# What no folder has in its name: the end of a C string, and half of a surrogate pair.
NO_FOLDER = re.compile(r"[\x00\ud800-\udfff]")
INVISIBLE = frozenset(("Cf", "Zl", "Zp", "Cn", "Co"))  # Unicode categories


def plain_path(given: object, working_directory: str) -> str | None:
    """Return the absolute, normalised path; None when `given` is not plain, or relative to an
    unknown folder.
    """
    if not isinstance(given, str) or not given or NOT_PLAIN.search(given):
        return None
    if any(unicodedata.category(letter) in INVISIBLE for letter in given):
        return None
    path = PurePosixPath(given)
    if not path.is_absolute():
        if not working_directory.startswith("/") or NO_FOLDER.search(working_directory):
            return None
        path = PurePosixPath(working_directory) / path
    return None if ".." in path.parts else normalised(str(path))


def normalised(path: str) -> str:
    """Return an absolute path without `.`, `..`, doubled and trailing slashes, as if the path held
    no links.
    """
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts)


def lies_in(path: str, folder: str) -> bool:
    """Return True if the normalised `path` is `folder` or below."""
    return folder in {path, "/"} or path.startswith(folder + "/")


def folded(path: str) -> str:
    """Return the path as compared by a file system without case and Unicode forms."""
    return unicodedata.normalize("NFC", path).casefold()


def protectable_path(path: str) -> str:
    """Return a valid path of `SECURITY__PROTECTED_PATHS`. Raises ValueError for a useless path."""
    if not path.strip("/~") or ".." in path.split("/") or set(path) & set("*?[\0"):
        raise ValueError(f"{path!r} is not a path to protect: no wildcards, no `..`, not the root")
    if path.startswith("~") and not path.startswith("~/"):
        raise ValueError(f"{path!r} is not a path to protect: write the home folder as ~/")
    return path


ProtectablePath = Annotated[str, AfterValidator(protectable_path)]
