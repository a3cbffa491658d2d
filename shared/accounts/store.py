"""A login file that several programs write: read again when it changed on disk, replaced whole,
never emptied.

Programs replace such a file by rename, so its identity is (inode, mtime, size) and not its path.
One that writes it in place leaves it torn for a moment: then what was read last still holds, and
the file is read again. Our own successor of it is on disk, as a draft, before it takes the file's
place: a process that dies in between leaves it to be found.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from shared.runtime.exact_json import load_json

LOOK_AGAIN_SECONDS = (
    1.0  # a stat per request would be wasted; a login by another program is noticed within this
)
TORN_SECONDS = 3.0  # a program that writes the file in place, and not by rename, is done by then
# taken on disk before a refresh token is spent, so that a full disk is noticed first
DRAFT_ROOM = 64 * 1024


class CredentialFile:
    """The current content of `path`: a JSON object, or None without a readable object."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.problem = ""
        self._clock = clock
        self._torn_at: float | None = None  # when the present bad content was seen first
        self.changed_at = 0.0
        self._seen: tuple[int, int, int] | None = None
        self._content: dict[str, Any] | None = None
        self._looked = float("-inf")

    def read(self, *, fresh: bool = False) -> dict[str, Any] | None:
        """At most one look at the disk per second, unless `fresh`. `problem` says why the answer is
        None. The same object is returned until the file changes.
        """
        now = self._clock()
        if fresh or self.is_torn or now - self._looked >= LOOK_AGAIN_SECONDS:
            self._looked = now
            self._look()
        return self._content

    @property
    def is_torn(self) -> bool:
        """Return True if the file has no valid JSON yet, and another program may be just writing
        it.
        """
        return self._torn_at is not None and self._clock() - self._torn_at < TORN_SECONDS

    def obstacle(self) -> str:
        """Return the obstacle to a replacement of this file, with the remedy; an empty text for a
        replaceable file.
        """
        if self.is_torn:
            return "another program is just writing the file; try again"
        try:
            facts = os.stat(self.path)
        except OSError as error:
            return f"the file cannot be read: {error.strerror}"
        # A rename on the host leaves the mount of this one file on the dead inode, and a write to
        # that inode would reach nobody.
        if facts.st_nlink == 0:
            return (
                "the file was replaced behind the mount of this single file; mount its directory "
                "instead"
            )
        if not facts.st_mode & 0o200 or not os.access(self.path, os.W_OK):
            return (
                "the file is read-only; make it writable (of a container: mount its directory "
                "read-write)"
            )
        if not os.access(self._target.parent, os.W_OK | os.X_OK):
            return f"the directory {self._target.parent} is read-only; make it writable"
        return ""

    def try_lock(self) -> IO[bytes] | None:
        """Return the right to replace the file, held until closed, among all processes of this
        product.

        Return None while another process has the right. Raises OSError where no lock file can be
        made.
        """
        # The lock belongs to the open file, so the kernel releases it even if this process is
        # killed.
        lock = open_private(self._beside("lock"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        return lock

    def draft(self, replaces: str) -> LoginDraft:
        """The successor of the content that holds the refresh token `replaces`; only for the holder
        of the lock.
        """
        return LoginDraft(
            self._target, self._beside(hashlib.sha256(replaces.encode()).hexdigest()[:16])
        )

    def write(self, data: bytes) -> None:
        """Replace the file, which need not exist yet; only for the holder of the lock. Raises
        OSError.
        """
        draft = self.draft("")
        draft.reserve()
        draft.write(data)
        draft.promote()

    @property
    def _target(self) -> Path:
        """The file itself where `path` is a link to it: a rename must not replace the link."""
        return Path(os.path.realpath(self.path))

    def _beside(self, name: str) -> Path:
        return self._target.with_name(f"{self._target.name}.ccproxy.{name}")

    def _look(self) -> None:
        try:
            # The identity is taken before the content is read. If the file changes in between, the
            # next look finds another identity and reads again.
            found = os.stat(self.path)
            identity = (found.st_ino, found.st_mtime_ns, found.st_size)
            if identity == self._seen:
                return
            content = load_json(self.path.read_bytes())
        except FileNotFoundError:
            self._forget("does not exist")
        except IsADirectoryError:
            self._forget(
                "is a directory, as a container makes one for a file that was not there; remove it "
                "and log in"
            )
        except OSError as error:
            self._forget(f"cannot be read: {error.strerror}")
        except ValueError:
            # `_seen` stays as it is, so each look reads the file again until its content is whole.
            # The last good content serves meanwhile, for TORN_SECONDS.
            self._torn_at = self._clock() if self._torn_at is None else self._torn_at
            if self._content is None or not self.is_torn:
                self._forget("is not valid JSON")
            return
        else:
            self._seen = identity
            self.changed_at = found.st_mtime
            self._content = content if isinstance(content, dict) else None
            self.problem = "" if self._content is not None else "is not a JSON object"
        self._torn_at = None

    def _forget(self, problem: str) -> None:
        self._seen = None
        self._content = None
        self.problem = problem


class LoginDraft:
    """A successor of a login file in the making.

    Its name holds a digest of the refresh token it replaces: while the file still holds that token,
    a complete draft is the newer of the two, and an empty one tells of a process that died asking.
    """

    def __init__(self, target: Path, path: Path) -> None:
        self._target = target
        self.path = path
        self.interrupted = path.exists()

    def is_complete(self) -> bool:
        try:
            return isinstance(load_json(self.path.read_bytes()), dict)
        except (OSError, ValueError):
            return False

    def reserve(self) -> None:
        """Make sure of the room for the successor. Raises OSError when the successor cannot be
        written.
        """
        with open_private(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as file:
            file.write(b" " * DRAFT_ROOM)
            flush(file)

    def write(self, data: bytes) -> None:
        # Written over the reserved blanks and cut afterwards: to empty the draft first would give
        # its reserved room away.
        with open_private(self.path, os.O_RDWR) as file:
            file.write(data)
            file.truncate()
            flush(file)

    def promote(self) -> None:
        """Put the draft in the place of the file, and delete the remains of earlier drafts."""
        try:
            self._rename()
        except OSError as error:
            if error.errno not in {errno.EBUSY, errno.EXDEV}:
                raise
            # a single file mounted read-write cannot be renamed over
            overwrite(self._target, self.path.read_bytes())
            self.discard()
        # Drafts of earlier tokens are of no use now. The lock file stays: a new one would be a
        # second lock beside the one that another process holds open.
        for other in self._target.parent.glob(f"{self._target.name}.ccproxy.*"):
            if other.suffix != ".lock":
                other.unlink(missing_ok=True)

    def _rename(self) -> None:
        os.replace(self.path, self._target)
        # Without this a loss of power may bring back the old file, whose refresh token is spent.
        directory = os.open(self._target.parent, os.O_RDONLY)
        with contextlib.suppress(OSError):  # some network file systems cannot
            os.fsync(directory)
        os.close(directory)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)


def open_private(path: Path, flags: int) -> IO[bytes]:
    """Open a file for the owner alone. A file made by root in another user's home (a container does
    so) becomes that user's.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    # Owned by root, the file would lock its user out of their own login.
    if os.geteuid() == 0:
        home = os.stat(path.parent)
        with contextlib.suppress(OSError):
            os.fchown(descriptor, home.st_uid, home.st_gid)
    return open(descriptor, "r+b")


def flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def overwrite(path: Path, data: bytes) -> None:
    """Write in place, valid JSON at every moment: blanks cover a longer content, then the file is
    cut.
    """
    with open(path, "r+b") as file:
        file.write(data.ljust(os.fstat(file.fileno()).st_size))
        file.flush()
        file.truncate(len(data))
        flush(file)
