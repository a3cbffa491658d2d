"""The patches of Codex's tool `apply_patch`: the files that a patch names.

A patch names each file on a line of its own, `*** Update File: src/app.py`. Codex takes such a line
behind blanks too, so a line of context that looks like one counts: rather a file too many than one
too few.
"""

from __future__ import annotations

import re
from typing import Any

PATCH_TOOL = "apply_patch"
PATCH_FIELD = "command"
FILE_LINE = re.compile(
    r"^\s*\*\*\* (?:Add File|Update File|Delete File|Move to):[ \t]*(.+?)[ \t\r]*$", re.MULTILINE
)


def patched_files(given: dict[str, Any]) -> list[str]:
    """Return the files named in the input of `apply_patch`, as spelled, each once."""
    patch = given.get(PATCH_FIELD)
    found = FILE_LINE.findall(patch) if isinstance(patch, str) else []
    return list(dict.fromkeys(found))
