"""The transcripts of named conversations: the file that a program resumes, and the copy in Redis by
which a worker on another machine can resume it.

A program writes its transcript to its own disk, and tells the worker every line of it. After each
turn the worker adds these lines to the copy. Invariant: a file or a copy is resumed only if it has
the last turn, and a copy only if it has everything before that turn as well; so no conversation
goes on with a hole in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from shared.bus.channels import KnownSession
from shared.runtime.errors import CCProxyError, TooLarge
from shared.runtime.exact_json import dump_json, load_json
from shared.runtime.files import replace_private
from shared.runtime.log import get_log

Entry = dict[str, Any]

PLAIN_NAME = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)  # a transcript's id is a UUID
# Below the folder of Claude Code's own transcripts, so that it also deletes these when they are
# old. Claude Code itself names folders there after paths, which begin with a dash.
MOVED_FOLDER = "ccproxy"
SAVE_SECONDS = 3.0  # for the copy of a turn that broke off: nobody waits for it


class CopyStore(Protocol):
    """The verbs of the SDK's `SessionStore` needed by the module."""

    async def append(self, key: dict[str, str], entries: Sequence[Entry]) -> None: ...

    async def load(self, key: dict[str, str]) -> list[Entry] | None: ...

    async def delete(self, key: dict[str, str]) -> None: ...


class Told(Protocol):
    """A program, with the lines of its transcript that are not in the copy yet."""

    untold: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class LocalTranscript:
    """A transcript on this machine's disk. Without a file, `path` is None and `entries` is
    empty.
    """

    path: Path | None
    entries: list[Entry]


class Transcripts:
    """The transcripts within reach of a worker.

    `store` has the copies; None: transcripts are not shared. `projects` returns the folder of
    Claude Code's transcripts, and may raise CredentialsMissing.
    """

    def __init__(
        self, store: CopyStore | None = None, projects: Callable[[], Path] = Path.cwd
    ) -> None:
        self._store = store
        self._projects = projects

    @property
    def shared(self) -> bool:
        """Return True if programs must tell their transcripts."""
        return self._store is not None

    async def find(self, key: str, known: KnownSession) -> str:
        """Return what the program needs to resume the conversation `key`: the transcript's id, or
        the path of a file; an empty text when no whole transcript is within reach.
        """
        if self._store is None:
            return known.transcript
        if not PLAIN_NAME.fullmatch(known.transcript):
            return ""
        projects = self._projects()
        name = copy_name(key, known.transcript)
        local = await asyncio.to_thread(read_local, projects, known.transcript)
        # The file of this disk comes first: it is there without Redis. It is old when another
        # machine had the last turn.
        if local.path is not None and has_entry(local.entries, known.last_entry):
            await self._complete_copy(self._store, name, local.entries)
            return resume_argument(local.path)
        stored = await self._load(self._store, name)
        if not is_unbroken(stored, known.last_entry):
            get_log().warning(
                "transcript_not_found", transcript=known.transcript, entries_in_redis=len(stored)
            )
            return ""
        path = local.path or projects / MOVED_FOLDER / f"{known.transcript}.jsonl"
        await asyncio.to_thread(write_local, path, stored)
        get_log().info("transcript_restored", transcript=known.transcript, entries=len(stored))
        return resume_argument(path)

    async def save(self, key: str, transcript: str, program: Told) -> str:
        """Add the lines that `program` told to the copy of `transcript`. Return the id of the last
        entry; an empty text when nothing was told.

        A failure is logged only: the turn is answered, and its lines are added with those of the
        next turn.
        """
        if self._store is None or not program.untold:
            return ""
        told = list(program.untold)
        entries = [
            entry
            for line in told
            if is_of_transcript(line, transcript)
            for entry in line.get("entries") or []
        ]
        try:
            await self._store.append(copy_name(key, transcript), entries)
            # Lines that came during the wait are behind these.
            del program.untold[: len(told)]
        except TooLarge as error:
            program.untold.clear()
            get_log().warning("transcript_not_shared", transcript=transcript, reason=error.message)
        except CCProxyError as error:
            get_log().warning("transcript_not_shared", transcript=transcript, reason=error.message)
        return last_entry(entries)

    async def save_broken_off(self, key: str, known: KnownSession, program: Told) -> None:
        """Add the lines of a turn that broke off: what the program writes later stands on them."""
        if known.transcript:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SAVE_SECONDS):
                    await self.save(key, known.transcript, program)

    async def _load(self, store: CopyStore, name: dict[str, str]) -> list[Entry]:
        try:
            return await store.load(name) or []
        except CCProxyError as error:
            get_log().warning(
                "transcript_not_read", transcript=name["session_id"], reason=error.message
            )
            return []

    async def _complete_copy(
        self, store: CopyStore, name: dict[str, str], entries: list[Entry]
    ) -> None:
        """Add what the copy lacks of the file: lines whose worker died, or that Redis lost."""
        stored = await self._load(store, name)
        there = [entry["uuid"] for entry in stored if entry.get("uuid")]
        places = [place for place, entry in enumerate(entries) if entry.get("uuid")]
        known = [entries[place]["uuid"] for place in places[: len(there)]]
        try:
            if there != known:
                # The copy is of another branch, or begins in the middle.
                await store.delete(name)
                there = []
            behind = places[len(there) - 1] + 1 if there else 0
            await store.append(name, entries[behind:])
        except CCProxyError as error:
            get_log().warning(
                "transcript_not_shared", transcript=name["session_id"], reason=error.message
            )


def copy_name(key: str, transcript: str) -> dict[str, str]:
    """Return the copy's key: the conversation takes the place of the SDK's project, since a folder
    may have another path on each machine.
    """
    return {"project_key": key, "session_id": transcript}


def is_of_transcript(line: dict[str, Any], transcript: str) -> bool:
    """Return True if the lines belong to the conversation itself. A subagent's end with its turn:
    no later turn reads them.
    """
    return Path(str(line.get("filePath", ""))).name == f"{transcript}.jsonl"


def last_entry(entries: Iterable[Entry]) -> str:
    """Return the id of the last entry that has one."""
    found = ""
    for entry in entries:
        found = entry.get("uuid") or found
    return found


def has_entry(entries: Iterable[Entry], wanted: str) -> bool:
    """Return True if `wanted` is the id of an entry, or empty."""
    return not wanted or any(entry.get("uuid") == wanted for entry in entries)


def is_unbroken(entries: Sequence[Entry], last: str) -> bool:
    """Return True if `entries` has `last` and everything that `last` stands on, back to an entry
    without a parent.
    """
    parents = {entry["uuid"]: entry.get("parentUuid") for entry in entries if entry.get("uuid")}
    at: str | None = last
    for _ in range(len(parents) + 1):
        if at is None:
            return True
        if at not in parents:
            return False
        at = parents[at]
    return False  # a circle


def read_local(projects: Path, transcript: str) -> LocalTranscript:
    """Return the newest file of the transcript below `projects`. A line cut short by a crash is
    left out, as Claude Code does.
    """
    found: list[tuple[float, Path, bytes]] = []
    for path in projects.glob(f"*/{transcript}.jsonl"):
        with contextlib.suppress(OSError):
            found.append((path.stat().st_mtime, path, path.read_bytes()))
    if not found:
        return LocalTranscript(None, [])
    _, path, content = max(found)
    entries: list[Entry] = []
    for line in content.splitlines():
        with contextlib.suppress(ValueError):
            entry = load_json(line)
            if isinstance(entry, dict):
                entries.append(entry)
    return LocalTranscript(path, entries)


def write_local(path: Path, entries: Iterable[Entry]) -> None:
    """Replace the file at `path` with `entries`, a line each, for its owner's eyes only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_private(path, b"".join(dump_json(entry) + b"\n" for entry in entries), durable=False)


def resume_argument(path: Path) -> str:
    """Return the transcript's id for a file where Claude Code itself put it, else the path."""
    return str(path) if path.parent.name == MOVED_FOLDER else path.stem
