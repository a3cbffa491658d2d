"""One execution of a target: with a limit of CPU time, and its failure as a find."""

from __future__ import annotations

import hashlib
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.targets.target import LawBroken, Target

ROOT = Path(__file__).parent.parent.parent
CPU_SECONDS = 4.0
"""Of one execution, the product's own code and what watches it. The inputs have some kilobytes."""


class TooSlow(BaseException):
    """An execution took more CPU time than any input may. No `except Exception` catches it."""


@dataclass(frozen=True, slots=True)
class Find:
    """A defect. `key` is the same for the same defect, as far as the place of an error tells."""

    key: str
    words: str


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Raise TooSlow in the context once it has taken `seconds` of CPU time."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooSlow(f"more than {seconds:g} seconds of CPU time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def execute(target: Target, data: bytes, cpu_seconds: float = CPU_SECONDS) -> Find | None:
    """Run `target` on `data` once. Return the find, or None for an input that the target takes."""
    if len(data) < 2:
        return None
    try:
        with cpu_limit(cpu_seconds):
            target.check(data)
    except (Exception, TooSlow) as error:  # noqa: BLE001 (whatever a target raises is a find)
        return find_of(target, error)
    return None


def find_of(target: Target, error: BaseException) -> Find:
    """Return the find that `error` tells of: by the broken law, or the last line of the product."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if is_ours(frame.filename)]
    product = [frame for frame in ours if "/tests/" not in frame.filename]
    # A law is the harness' own line; any other error belongs to the product's last line.
    place = ours[-1] if isinstance(error, AssertionError) or not product else product[-1]
    file = str(Path(place.filename).relative_to(ROOT))
    law = str(error) if isinstance(error, LawBroken) else ""
    where = "" if isinstance(error, TooSlow) else f"{file}:{place.lineno}"
    key = f"{target.name} {type(error).__name__} {where} {law}".strip()
    words = "".join(traceback.format_exception(error, limit=-12))
    return Find(key, words)


def is_ours(file: str) -> bool:
    return file.startswith(f"{ROOT}/") and "/.venv/" not in file


class Finds:
    """The finds of a search, each kept once in `folder` with its smallest input."""

    def __init__(self, folder: Path, target: Target) -> None:
        self._folder = folder
        self._target = target
        self._sizes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._sizes)

    def keep(self, find: Find, data: bytes) -> None:
        """Keep the input of a find, unless a smaller one is kept."""
        known = self._sizes.get(find.key)
        if known is not None and known <= len(data):
            return
        self._sizes[find.key] = len(data)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / find_file(self._target, find)
        path.write_bytes(data)
        path.with_suffix(".txt").write_text(f"{find.key}\n\n{find.words}", errors="replace")
        if known is None:
            command = f"python -m tests.fuzz.search replay {self._target.name} {shown(path)}"
            sys.stdout.write(f"find: {find.key}\n  {command}\n")
            sys.stdout.flush()


def find_file(target: Target, find: Find) -> str:
    return f"{target.name}-{hashlib.sha256(find.key.encode()).hexdigest()[:8]}.input"


def shown(path: Path) -> Any:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
