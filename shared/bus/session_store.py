"""Transcripts of Claude Code in Redis, in the form that the Claude Agent SDK asks of a
`SessionStore`.

A transcript is one value of a BoundedStore: its appended batches, each compressed, in order. What a
subagent wrote (`subpath`) is among them and marked. Invariant: `load` returns every entry since the
transcript began or since it was forgotten, in the order of their writing; whoever resumes a
conversation checks that the entries have a beginning.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from shared.bus.bounded import BoundedStore, Scripts
from shared.runtime.errors import Conflict, TooLarge
from shared.runtime.exact_json import dump_json, load_json
from shared.runtime.packing import THREAD_BYTES, deflated

Entry = dict[str, Any]
# `project_key`, `session_id`, and for a subagent `subpath`: the SDK's SessionKey.
StoreKey = Mapping[str, str]

OWNER = "workers"  # all transcripts share one limit of bytes: what they spend is Redis' memory
LENGTH_BYTES = 4  # before every batch, its length as a big-endian number
UNPACKED_TIMES = 4  # a packed transcript becomes about so many times as large
TRIES = 5  # of a change that another writer may come before


class TranscriptLimits(Protocol):
    """The settings needed by `open_session_store`."""

    @property
    def transcript_bytes(self) -> int: ...

    @property
    def all_transcripts_bytes(self) -> int: ...

    @property
    def transcript_days(self) -> float: ...


class RedisSessionStore:
    """The SDK's `SessionStore` without its lists of sessions, which nobody here asks for.

    One transcript has at most `most_bytes` compressed bytes. Every method raises BusUnavailable.
    """

    def __init__(self, store: BoundedStore, *, most_bytes: int) -> None:
        self._store = store
        self._most_bytes = most_bytes

    async def append(self, key: StoreKey, entries: Sequence[Entry]) -> None:
        """Add `entries` to the end of a transcript. Raises TooLarge for a transcript beyond its
        limit, and forgets the transcript: half of one would be a wrong one.
        """
        if not entries:
            return
        batch = await deflated(dump_json([key.get("subpath", ""), list(entries)]))
        data = len(batch).to_bytes(LENGTH_BYTES, "big") + batch
        length = await self._store.append(OWNER, entry_name(key), data)
        if not 0 < length <= self._most_bytes:
            await self._store.delete(OWNER, entry_name(key))
            raise TooLarge(
                "The transcript of this conversation is too large to be shared "
                "(SDK__TRANSCRIPT_BYTES)."
            )

    async def load(self, key: StoreKey) -> list[Entry] | None:
        """Return the entries of a transcript; None for an unknown one. An entry whose `uuid` came
        before, from a batch that was sent again, is left out.
        """
        batches = await self._batches(key)
        wanted = key.get("subpath", "")
        found: list[Entry] | None = None
        seen: set[str] = set()
        for entry in (each for subpath, batch in batches if subpath == wanted for each in batch):
            found = [] if found is None else found
            name = entry.get("uuid", "")
            if not name or name not in seen:
                found.append(entry)
            seen.add(name)
        return found

    async def delete(self, key: StoreKey) -> None:
        """Delete a transcript with the subagents' parts; with a `subpath`, only that part."""
        name = entry_name(key)
        if "subpath" not in key:
            await self._store.delete(OWNER, name)
            return
        for _ in range(TRIES):
            [data] = await self._store.get(OWNER, [name])
            if data is None:
                return
            kept = b"".join(
                len(batch).to_bytes(LENGTH_BYTES, "big") + batch
                for batch in split_batches(data)
                if load_json(zlib.decompress(batch))[0] != key["subpath"]
            )
            if await self._store.replace(OWNER, name, data, kept):
                return
        raise Conflict("The transcript is being written by others; try again.")

    async def list_subkeys(self, key: StoreKey) -> list[str]:
        """Return the `subpath` of every part that a subagent wrote."""
        found = dict.fromkeys(subpath for subpath, _ in await self._batches(key))
        return [subpath for subpath in found if subpath]

    async def _batches(self, key: StoreKey) -> list[tuple[str, list[Entry]]]:
        [data] = await self._store.get(OWNER, [entry_name(key)])
        if data is None:
            return []
        if len(data) * UNPACKED_TIMES > THREAD_BYTES:
            return await asyncio.to_thread(read_batches, data)
        return read_batches(data)


def open_session_store(bus: Scripts, limits: TranscriptLimits) -> RedisSessionStore:
    """Return the store of all transcripts of a stack, within the limits of its settings."""
    store = BoundedStore(
        bus,
        "transcripts",
        lifetime=limits.transcript_days * 86_400,
        limit=limits.all_transcripts_bytes,
    )
    return RedisSessionStore(store, most_bytes=limits.transcript_bytes)


def entry_name(key: StoreKey) -> str:
    """Return the name of a transcript's value, subagents' parts included."""
    return f"{key['project_key']}/{key['session_id']}"


def split_batches(data: bytes) -> Iterator[bytes]:
    """Yield the compressed batches of a value in order."""
    at = 0
    while at < len(data):
        begin = at + LENGTH_BYTES
        at = begin + int.from_bytes(data[at:begin], "big")
        yield data[begin:at]


def read_batches(data: bytes) -> list[tuple[str, list[Entry]]]:
    """Return the batches of a value in order, each as its `subpath` and its entries."""
    found: list[tuple[str, list[Entry]]] = []
    for batch in split_batches(data):
        subpath, entries = load_json(zlib.decompress(batch))
        found.append((subpath, entries))
    return found
