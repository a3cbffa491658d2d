"""Captures on disk: a file each, readable by their owner only, together at most `limit` bytes.

Names begin with the time, so the oldest files are the first, and they make room. Several gateways
write here: a file is whole before it gets its name, its name has the request's own id, and a file
that another gateway removed first is no error.

Invariant: no file here has a group or others who may read it, at any time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from shared.captures.capture import (
    Capture,
    NotACapture,
    Summary,
    read_capture,
    read_summary,
    write_capture,
)
from shared.runtime.errors import NotFound
from shared.runtime.files import replacement

SUFFIX = ".capture"
REQUEST_ID = re.compile(r"req_[0-9a-f]{24}")
LONGEST_SUMMARY = 64 * 1024  # bytes of the first line
LEFT_DRAFT_SECONDS = 600.0  # after which a draft is one of a killed process
KEPT_DRAFT = f".*{SUFFIX}.*"


class NoSuchCapture(NotFound):
    """There is no capture under this id: it was never made, or has made room for newer ones."""


class CaptureStore:
    """Captures under `directory`. All I/O blocks: call the methods from a thread."""

    def __init__(self, directory: Path, limit: int) -> None:
        self._directory = directory
        self._limit = limit

    def keep(self, capture: Capture) -> bool:
        """Write the capture; the oldest captures make room. Return False for a capture larger than
        the store. Raises OSError.
        """
        data = write_capture(capture)
        if len(data) > self._limit:
            return False
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The directory may be older than this rule, or made by hand.
        if self._directory.stat().st_mode & 0o077:
            self._directory.chmod(0o700)
        self._make_room(len(data))
        name = f"{int(capture.summary.at * 1000):015d}-{capture.summary.id}{SUFFIX}"
        # Not durable: a power cut may cost the last captures, and a wait for the disk costs more.
        with replacement(self._directory / name, durable=False) as draft:
            draft.write(data)
        return True

    def summaries(
        self, *, session: str | None = None, caller: str | None = None, limit: int = 100
    ) -> list[Summary]:
        """Return the captures, latest first, of a session or token if given."""
        found: list[Summary] = []
        for path in reversed(self._files()):
            summary = self._summary(path)
            if summary is None:
                continue
            if session not in (None, summary.session) or caller not in (None, summary.caller):
                continue
            found.append(summary)
            if len(found) >= limit:
                break
        return found

    def named(self, request_id: str) -> list[Summary]:
        """Return the capture with this id, or an empty list."""
        try:
            found = self._summary(self._path(request_id))
        except NoSuchCapture:
            return []
        return [] if found is None else [found]

    def get(self, request_id: str) -> Capture:
        """Return a capture. Raises NoSuchCapture, NotACapture, OSError."""
        try:
            return read_capture(self._path(request_id).read_bytes())
        except FileNotFoundError as error:
            raise NoSuchCapture from error

    def before(self, summary: Summary) -> Capture | None:
        """Return the previous capture of the same session, address and model; None for the first
        capture, and for a request without a session.
        """
        if not summary.session:
            return None
        for other in self.summaries(session=summary.session, limit=1000):
            earlier = (other.at, other.id) < (summary.at, summary.id)
            # An agent counts tokens, and asks a small model for a title, in the same session.
            if earlier and other.path == summary.path and other.model == summary.model:
                return self.get(other.id)
        return None

    def delete(self, request_id: str) -> None:
        """Delete a capture. Raises NoSuchCapture, OSError."""
        try:
            self._path(request_id).unlink()
        except FileNotFoundError as error:
            raise NoSuchCapture from error

    def clear(self) -> int:
        """Delete every capture; return the number of captures. Raises OSError."""
        files = self._files()
        for path in files:
            path.unlink(missing_ok=True)
        return len(files)

    def size(self) -> tuple[int, int]:
        """Return the number of captures, and their size on disk in bytes."""
        sizes = [size for _, size in self._sizes()]
        return len(sizes), sum(sizes)

    def _make_room(self, needed: int) -> None:
        sizes = list(self._sizes())
        free = self._limit - sum(size for _, size in sizes) - needed
        for path, size in sizes:
            if free >= 0:
                break
            path.unlink(missing_ok=True)
            free += size
        for draft in self._directory.glob(KEPT_DRAFT):
            if _age(draft) > LEFT_DRAFT_SECONDS:
                draft.unlink(missing_ok=True)

    def _sizes(self) -> Iterator[tuple[Path, int]]:
        for path in self._files():
            try:
                yield path, path.stat().st_size
            except FileNotFoundError:
                continue  # another gateway has removed it

    def _summary(self, path: Path) -> Summary | None:
        """Return the summary of a file; None for a file that is gone, or no capture."""
        try:
            with path.open("rb") as file:
                return read_summary(file.readline(LONGEST_SUMMARY))
        except (FileNotFoundError, NotACapture):
            return None

    def _path(self, request_id: str) -> Path:
        """Return the path of the capture's file. Raises NoSuchCapture."""
        if not REQUEST_ID.fullmatch(request_id):
            raise NoSuchCapture
        for path in self._directory.glob(f"*-{request_id}{SUFFIX}"):
            return path
        raise NoSuchCapture

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob(f"[0-9]*{SUFFIX}"))


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
