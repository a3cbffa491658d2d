"""The stored responses of every client token, their items, and the last response of every session
path.

Only an owner's own token finds the owner's stored responses. A request that names a stored value
needs Redis; any other request goes on without. Nothing here outlives the lifetime or the bytes that
the owner's settings allow.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from shared.bus.bounded import BoundedStore, Use
from shared.formats.ir import Json
from shared.runtime.errors import ClientError, StoredThingMissing
from shared.runtime.exact_json import dump_json, load_json
from shared.runtime.packing import deflated

_MADE_ID = re.compile(r"\w+_in\d+")  # see `made_id`
_ID_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
}


@dataclass(slots=True)
class StoredResponse:
    """A response as the client saw it, with its new input items and the ids of the responses
    before, oldest first.

    A conversation's items that no response produced are stored with an empty `response`.
    """

    response: Json
    input: list[Json]
    earlier: list[str] = field(default_factory=list)

    def output(self) -> list[Json]:
        """Return the items the model produced."""
        items: list[Json] = self.response.get("output") or []
        return items


class ResponseMemory:
    """The stored responses, found by owner and id. Every method raises BusUnavailable."""

    def __init__(self, store: BoundedStore) -> None:
        self._store = store

    async def save(self, owner: str, entry: str, stored: StoredResponse) -> bool:
        """Store a response under its id and the ids of its items. Return False for a too large
        response.
        """
        data = dump_json([stored.response, stored.input, stored.earlier])
        names = [item["id"] for item in items_of(entry, stored)]
        return await self._store.put(owner, entry, await deflated(data), names)

    async def load(self, owner: str, entries: Sequence[str]) -> list[StoredResponse | None]:
        """Return the stored responses in the order of `entries`, None for a missing response."""
        found = await self._store.get(owner, entries)
        return [
            None if data is None else StoredResponse(*load_json(zlib.decompress(data)))
            for data in found
        ]

    async def forget(self, owner: str, entry: str) -> bool:
        """Delete a stored response. Return False for an unknown id."""
        return await self._store.delete(owner, entry)

    async def find_items(self, owner: str, ids: Sequence[str]) -> dict[str, Json]:
        """Return the stored items by id. Raises StoredThingMissing naming the first missing id."""
        entries = await self._store.find(owner, ids)
        # Several items often belong to one response, which is read once.
        needed = list(dict.fromkeys(entry for entry in entries if entry is not None))
        stored = await self.load(owner, needed)
        known = {
            item["id"]: item
            for entry, response in zip(needed, stored, strict=True)
            if response is not None
            for item in items_of(entry, response)
        }
        for missing in (item_id for item_id in ids if item_id not in known):
            raise StoredThingMissing(f"Item with id '{missing}' not found.", param="input")
        return known

    async def resolve(self, owner: str, items: Iterable[Json]) -> list[Json]:
        """Return `items` with every reference replaced by the stored item. Raises
        StoredThingMissing.
        """
        wanted = list(items)
        references = [reference for item in wanted if (reference := referenced(item))]
        if not references:
            return wanted
        known = await self.find_items(owner, references)
        return [known[reference] if (reference := referenced(item)) else item for item in wanted]

    async def last_of(self, owner: str, session: str) -> str:
        """Return the id of the last response of a session path, or an empty text."""
        [found] = await self._store.get(owner, [session_entry(session)])
        return found.decode() if found else ""

    async def note_last(self, owner: str, session: str, entry: str) -> None:
        """Remember `entry` as the last response of a session path."""
        await self._store.put(owner, session_entry(session), entry.encode())

    async def uses(self, owners: Sequence[str]) -> dict[str, Use]:
        """Return the amount stored for each owner."""
        return await self._store.uses(owners)


def session_entry(session: str) -> str:
    return f"session:{session}"


def referenced(item: Json) -> str:
    """Return the id in an `item_reference`; an empty text for any other item. Raises ClientError
    for a reference without an id.

    OpenAI lets clients leave the type out.
    """
    if item.get("type") != "item_reference" and item.keys() != {"id"}:
        return ""
    reference = item.get("id")
    if not isinstance(reference, str) or not reference:
        raise ClientError(
            "input: an item_reference needs the `id` of the item it refers to.", param="input"
        )
    return reference


def items_of(entry: str, stored: StoredResponse) -> Iterator[Json]:
    """Yield every item of a stored response with an id: the input first, without references, then
    the output.
    """
    for place, item in enumerate(stored.input):
        if not referenced(item):
            yield (
                item
                if isinstance(item.get("id"), str)
                else item | {"id": made_id(entry, place, item)}
            )
    yield from (item for item in stored.output() if isinstance(item.get("id"), str))


def made_id(entry: str, place: int, item: Json) -> str:
    """Return the id of an input item without an id from the client; always the same for the same
    place.
    """
    prefix = _ID_PREFIXES.get(item.get("type") or "message", "item")
    return f"{prefix}_{entry.partition('_')[2]}_in{place}"


def without_made_id(item: Json) -> Json:
    """Return `item` without an id made by `made_id`, which no provider knows; the same object if
    unchanged.
    """
    if not _MADE_ID.fullmatch(str(item.get("id", ""))):
        return item
    return {name: value for name, value in item.items() if name != "id"}
