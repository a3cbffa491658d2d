"""Where a request's tools may work: below the roots the owner listed, as this worker's machine sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.errors import ClientError, NotAllowed


def choose_directory(asked: str | None, roots: Sequence[Path]) -> str | None:
    """The directory asked for, links resolved; None when none was. Raises NotAllowed outside of every root, whether it
    exists or not, and ClientError when it is none."""
    if not asked:
        return None
    directory = Path(asked)
    if not directory.is_absolute():
        raise ClientError(f"working directory: {asked!r} is not an absolute path.")
    try:
        found = directory.resolve()
        allowed = any(found.is_relative_to(root.expanduser().resolve()) for root in roots)
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, or a name no file system takes
        raise ClientError(f"working directory: {asked!r} cannot be looked up.") from error
    if not allowed:
        raise NotAllowed(f"working directory: {asked!r} is not below a directory of SDK__WORKING_ROOTS.")
    if not found.is_dir():
        raise ClientError(f"working directory: {asked!r} is not a directory of the worker's machine.")
    return str(found)
