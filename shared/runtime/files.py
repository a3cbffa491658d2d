"""Files that are replaced whole: a reader meets the old content or the new one, never half of it,
and knows by the file's identity when to read again.

Every file of ours that is replaced goes through this module, but for the login files
(shared/accounts/store.py), whose drafts outlive a killed process on purpose.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

PRIVATE = 0o600  # most of our files hold a secret or somebody's words


@contextlib.contextmanager
def replacement(
    path: Path, *, mode: int | None = PRIVATE, durable: bool = True
) -> Iterator[IO[bytes]]:
    """Yield a draft beside `path` (the draft's place is `name`), to replace `path` by rename at the
    end of the block; a link's target is replaced, not the link. Missing directories are made.

    The draft is its owner's alone until it is whole, and then has `mode`; None: the mode of the
    file that it replaces. Without `durable` a power cut may leave an empty file: that is for
    content which is made again. Raises OSError; after it, and after every exception in the block,
    the file is as it was.
    """
    # A rename onto a link would replace the link; the target is what other programs share.
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    # The draft lies beside its target, because a rename is one step only within a file system. It
    # is made with mode 0600 and a name that no draft left by a killed process has.
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as draft:
        try:
            yield draft
            draft.flush()
            os.fchmod(draft.fileno(), mode_of(target) if mode is None else mode)
            if durable:
                # The rename may reach the disk before the bytes do.
                os.fsync(draft.fileno())
            os.replace(draft.name, target)
        finally:
            # After the rename there is no file of this name.
            Path(draft.name).unlink(missing_ok=True)


def replace_private(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Replace `path` with `content`, mode 0600. Options and errors as in `replacement`."""
    with replacement(path, durable=durable) as draft:
        draft.write(content.encode() if isinstance(content, str) else content)


def create_private(path: Path, content: bytes) -> None:
    """Write `content` to `path`, mode 0600, unless another process has made the file. Missing
    directories are made for the owner alone. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.touch(mode=PRIVATE)
        draft.write_bytes(content)
        # A link, unlike a rename, replaces no file that is there already.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def file_identity(path: Path) -> tuple[int, ...]:
    """Return facts that differ between two versions of a file. Raises OSError."""
    facts = path.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def identity_or_none(path: Path) -> tuple[int, ...] | None:
    """Return the identity of a file; None for a file that is not there, or out of reach."""
    try:
        return file_identity(path)
    except OSError:
        return None


def mode_of(path: Path) -> int:
    """Return the mode of a file; PRIVATE for a file that is not there."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return PRIVATE
