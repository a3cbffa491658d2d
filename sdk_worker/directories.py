"""The working folder of a request's tools: our own empty one, or one below the roots that the owner
listed.

Both are folders of this worker's machine. `ccproxy` may be started in any folder, the home folder
included, so the folder of the start is never the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.runtime.errors import ClientError, NotAllowed


def own_directory(directory: Path) -> Path:
    """Return the product's own folder for tools, `directory`, with every link resolved; create a
    missing folder.

    Raises NotAllowed when the folder cannot be created.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return directory.resolve()
    except OSError as error:
        raise NotAllowed(
            f"The folder for tools, {directory}, cannot be created: {error.strerror}. "
            "Name another one in CLAUDE__CODE_OPTIONS__CWD."
        ) from error


def choose_directory(asked: str | None, roots: Sequence[Path]) -> str | None:
    """Return the directory `asked` with links resolved; None when the request names no directory.

    Raises NotAllowed for a path outside of every root, existing or not, and ClientError for a path
    that is no directory.
    """
    if not asked:
        return None
    directory = Path(asked)
    if not directory.is_absolute():
        raise ClientError(f"working directory: {asked!r} is not an absolute path.")
    try:
        # Both sides are resolved before the comparison: a link below a root may lead anywhere.
        found = directory.resolve()
        allowed = any(found.is_relative_to(root.expanduser().resolve()) for root in roots)
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        # A loop of links, or a name that no file system takes.
        raise ClientError(f"working directory: {asked!r} cannot be looked up.") from error
    if not allowed:
        raise NotAllowed(
            f"working directory: {asked!r} is not below a directory of SDK__WORKING_ROOTS."
        )
    if not found.is_dir():
        raise ClientError(
            f"working directory: {asked!r} is not a directory of the worker's machine."
        )
    return str(found)
