"""A JSON file that several programs write: read again when it changed on disk, never held open.

Programs replace such a file by rename, so its identity is (inode, mtime, size) and not its path.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

LOOK_AGAIN_SECONDS = 1.0  # a stat per request would be wasted; a login by another program is noticed within this


class CredentialFile:
    """The current content of `path`: a JSON object, or None while there is no readable one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self._seen: tuple[int, int, int] | None = None
        self._content: dict[str, Any] | None = None
        self._looked = float("-inf")

    def read(self, *, fresh: bool = False) -> dict[str, Any] | None:
        """At most one look at the disk per second, unless `fresh`. `problem` says why the answer is None."""
        now = time.monotonic()
        if fresh or now - self._looked >= LOOK_AGAIN_SECONDS:
            self._looked = now
            self._look()
        return self._content

    def _look(self) -> None:
        try:
            found = os.stat(self.path)
            identity = (found.st_ino, found.st_mtime_ns, found.st_size)
            if identity == self._seen:
                return
            content = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            self._forget("does not exist")
        except OSError as error:
            self._forget(f"cannot be read: {error.strerror}")
        except ValueError:
            self._forget("is not valid JSON")
        else:
            self._seen = identity
            self._content = content if isinstance(content, dict) else None
            self.problem = "" if self._content is not None else "is not a JSON object"

    def _forget(self, problem: str) -> None:
        self._seen, self._content, self.problem = None, None, problem
