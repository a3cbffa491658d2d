"""Conversations: lists of items with an id of their own; a request adds to a conversation by naming
its id.

A conversation is stored as two values: its list of stored responses, to which every request appends
in one step, and its facts (metadata, removed items). Both are used together, so both expire
together.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from gateway.proxy.stored.memory import ResponseMemory, StoredResponse, items_of
from shared.bus.bounded import BoundedStore
from shared.formats.ir import Json
from shared.runtime.errors import ClientError, Conflict, StoredThingMissing

METADATA_PAIRS = 16  # OpenAI's own limits on metadata
METADATA_KEY = 64
METADATA_VALUE = 512
# Each failed attempt is the success of another writer: only more writers at once than this fail.
CHANGE_ATTEMPTS = 32
ITEMS_AT_ONCE = 20  # OpenAI's own limit on one `items` request


@dataclass(slots=True)
class About:
    """The facts of a conversation beside its items. `created_at` is in UTC seconds."""

    created_at: int
    metadata: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)


class Conversations:
    """The conversations of every owner.

    Every method raises BusUnavailable, and a method with a conversation's id also raises
    StoredThingMissing.
    """

    def __init__(
        self, store: BoundedStore, memory: ResponseMemory, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._memory = memory
        self._clock = clock

    async def create(self, owner: str, items: list[Json], metadata: dict[str, str]) -> str:
        """Create a conversation with the first `items`, and return the new id."""
        conversation = "conv_" + secrets.token_hex(24)
        about = About(int(self._clock()), metadata)
        await self._store.put(owner, conversation, orjson.dumps(about))
        if items:
            await self.add(owner, conversation, items)
        return conversation

    async def about(self, owner: str, conversation: str) -> About:
        """Return the facts of a conversation."""
        [found] = await self._store.get(owner, [conversation])
        if found is None:
            raise conversation_missing(conversation)
        return About(**orjson.loads(found))

    async def update(self, owner: str, conversation: str, metadata: dict[str, str]) -> None:
        """Replace a conversation's metadata."""

        def change(about: About) -> None:
            about.metadata = metadata

        await self._change(owner, conversation, change)

    async def delete(self, owner: str, conversation: str) -> None:
        """Delete a conversation. The responses stay stored under the responses' own ids, as at
        OpenAI.
        """
        await self.about(owner, conversation)
        # The list goes first: a failure in between leaves an empty conversation, which can be
        # deleted again. A list without its facts could never be found.
        await self._store.delete(owner, list_entry(conversation))
        await self._store.delete(owner, conversation)

    async def append(self, owner: str, conversation: str, entry: str) -> None:
        """Add a stored response to the end of a conversation."""
        await self._store.append(owner, list_entry(conversation), f"{entry}\n".encode())

    async def add(self, owner: str, conversation: str, items: list[Json]) -> list[Json]:
        """Add items of the client, and return the items with ids."""
        await self.about(owner, conversation)
        entry = "item_" + secrets.token_hex(12)
        stored = StoredResponse({}, await self._memory.resolve(owner, items))
        # Stored before the list names the entry: the list never names an entry that was refused.
        if not await self._memory.save(owner, entry, stored):
            raise ClientError(
                "items: larger than this token may store (RESPONSES__BYTES_PER_TOKEN).",
                param="items",
            )
        await self.append(owner, conversation, entry)
        return list(items_of(entry, stored))

    async def items(self, owner: str, conversation: str) -> list[Json]:
        """Return all items of a conversation in order, with ids, without removed items."""
        about = await self.about(owner, conversation)
        [listed] = await self._store.get(owner, [list_entry(conversation)])
        entries = listed.decode().split() if listed else []
        items: list[Json] = []
        for entry, stored in zip(entries, await self._memory.load(owner, entries), strict=True):
            if stored is None:  # deleted by id, or removed to make room for newer responses
                continue
            resolved = StoredResponse(
                stored.response, await self._memory.resolve(owner, stored.input)
            )
            items += items_of(entry, resolved)
        return [item for item in items if item["id"] not in about.removed]

    async def remove_item(self, owner: str, conversation: str, item_id: str) -> None:
        """Remove an item from a conversation. Raises StoredThingMissing for an item of
        no such id.
        """
        if all(item["id"] != item_id for item in await self.items(owner, conversation)):
            raise StoredThingMissing(f"Item with id '{item_id}' not found.")
        await self._change(owner, conversation, lambda about: about.removed.append(item_id))

    async def _change(self, owner: str, conversation: str, change: Callable[[About], None]) -> None:
        """Apply `change` to the facts of a conversation, beside other writers. Raises Conflict when
        others were quicker each time.
        """
        for _ in range(CHANGE_ATTEMPTS):
            [before] = await self._store.get(owner, [conversation])
            if before is None:
                raise conversation_missing(conversation)
            about = About(**orjson.loads(before))
            change(about)
            # Only in the place of what was read: the change of a writer in between must stay, and a
            # conversation that was deleted in between must stay deleted.
            if await self._store.replace(owner, conversation, before, orjson.dumps(about)):
                return
        raise Conflict(
            f"Conversation '{conversation}' is being changed by other requests; send this one "
            "again."
        )


def list_entry(conversation: str) -> str:
    return f"list:{conversation}"


def conversation_missing(conversation: str) -> StoredThingMissing:
    return StoredThingMissing(
        f"Conversation with id '{conversation}' not found.", param="conversation"
    )


def read_metadata(given: object) -> dict[str, str]:
    """Return `given` as metadata: at most 16 pairs of short texts. Raises ClientError."""
    if given is None:
        return {}
    fits = (
        isinstance(given, dict)
        and len(given) <= METADATA_PAIRS
        and all(isinstance(key, str) and len(key) <= METADATA_KEY for key in given)
        and all(isinstance(value, str) and len(value) <= METADATA_VALUE for value in given.values())
    )
    if not fits or not isinstance(given, dict):
        raise ClientError(
            f"metadata: expected at most {METADATA_PAIRS} pairs of texts, keys up to "
            f"{METADATA_KEY} and values up to {METADATA_VALUE} characters.",
            param="metadata",
        )
    return given
