"""Conversations that several callers change at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.proxy.stored.conversations import Conversations
from gateway.proxy.stored.memory import ResponseMemory
from shared.runtime.errors import Conflict, StoredThingMissing


class SharedStore:
    """A store whose every step lets other callers run first."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.is_contended = False

    async def put(self, owner: str, entry: str, data: bytes, aliases: Sequence[str] = ()) -> bool:
        self.values[entry] = data
        return True

    async def append(self, owner: str, entry: str, data: bytes) -> None:
        self.values[entry] = self.values.get(entry, b"") + data

    async def get(self, owner: str, entries: list[str]) -> list[bytes | None]:
        found = [self.values.get(entry) for entry in entries]
        await asyncio.sleep(0)
        return found

    async def replace(self, owner: str, entry: str, before: bytes, data: bytes) -> bool:
        await asyncio.sleep(0)
        if self.is_contended or self.values.get(entry) != before:
            return False
        self.values[entry] = data
        return True

    async def delete(self, owner: str, entry: str) -> bool:
        return self.values.pop(entry, None) is not None


@pytest.fixture
def store() -> SharedStore:
    return SharedStore()


@pytest.fixture
def conversations(store: SharedStore) -> Conversations:
    return Conversations(store, ResponseMemory(store))  # type: ignore[arg-type]


def message(text: str) -> dict[str, object]:
    return {"type": "message", "role": "user", "content": text}


async def test_the_changes_of_callers_at_once_all_stay(conversations: Conversations) -> None:
    name = await conversations.create("me", [message(f"{n}") for n in range(8)], {})
    first, *others = await conversations.items("me", name)
    await asyncio.gather(
        *(conversations.remove_item("me", name, item["id"]) for item in others),
        conversations.update("me", name, {"topic": "birds"}),
    )
    assert await conversations.items("me", name) == [first]
    assert (await conversations.about("me", name)).metadata == {"topic": "birds"}


async def test_a_conversation_that_is_deleted_meanwhile_stays_deleted(
    conversations: Conversations,
) -> None:
    name = await conversations.create("me", [], {})
    updating = asyncio.ensure_future(conversations.update("me", name, {"topic": "birds"}))
    await asyncio.sleep(0)
    await conversations.delete("me", name)
    with pytest.raises(StoredThingMissing):
        await updating
    with pytest.raises(StoredThingMissing):
        await conversations.about("me", name)


async def test_a_change_that_is_never_the_first_ends_with_the_step_to_take(
    store: SharedStore, conversations: Conversations
) -> None:
    name = await conversations.create("me", [], {})
    store.is_contended = True
    with pytest.raises(Conflict, match="send this one again"):
        await conversations.update("me", name, {"topic": "birds"})
