"""A request's place among stored responses, on a store in memory: who stores, what is completed,
what fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.proxy.stored.continuation import Continuations, tells_history
from gateway.proxy.stored.conversations import Conversations, read_metadata
from gateway.proxy.stored.memory import ResponseMemory, made_id, without_made_id
from shared.bus.bounded import Use
from shared.runtime.errors import BusUnavailable, ClientError, StoredThingMissing


class MemoryStore:
    """A BoundedStore in memory; while `away`, it fails as Redis does. `limit` is the largest value
    in bytes.
    """

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], bytes] = {}
        self.aliases: dict[tuple[str, str], str] = {}
        self.away = False
        self.limit = 1_000_000

    def _check(self) -> None:
        if self.away:
            raise BusUnavailable

    async def put(self, owner: str, entry: str, data: bytes, aliases: Sequence[str] = ()) -> bool:
        self._check()
        if len(data) > self.limit:
            return False
        self.values[owner, entry] = data
        self.aliases |= {(owner, alias): entry for alias in aliases}
        return True

    async def append(self, owner: str, entry: str, data: bytes) -> None:
        self._check()
        self.values[owner, entry] = self.values.get((owner, entry), b"") + data

    async def get(self, owner: str, entries: Sequence[str]) -> list[bytes | None]:
        self._check()
        return [self.values.get((owner, entry)) for entry in entries]

    async def find(self, owner: str, aliases: Sequence[str]) -> list[str | None]:
        self._check()
        return [self.aliases.get((owner, alias)) for alias in aliases]

    async def delete(self, owner: str, entry: str) -> bool:
        self._check()
        return self.values.pop((owner, entry), None) is not None

    async def use(self, owner: str) -> Use:
        self._check()
        return Use(len(self.values), sum(map(len, self.values.values())))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def continuations(store: MemoryStore) -> Continuations:
    memory = ResponseMemory(store)  # type: ignore[arg-type]
    conversations = Conversations(store, memory)  # type: ignore[arg-type]
    return Continuations(memory, conversations, lambda: not store.away)


def request(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": "m", "input": [{"role": "user", "content": text}]} | more


def reply(response_id: str, text: str = "hi", status: str = "completed") -> dict[str, Any]:
    content = [{"type": "output_text", "text": text}]
    message = {"type": "message", "id": f"msg_{text}", "role": "assistant", "content": content}
    return {"id": response_id, "object": "response", "status": status, "output": [message]}


async def test_a_request_that_stores_nothing_and_names_nothing_passes(
    continuations: Continuations,
) -> None:
    assert await continuations.begin(request(store=False), owner="") is None


async def test_while_redis_is_away_an_ordinary_request_passes_and_stores_nothing(
    store: MemoryStore, continuations: Continuations
) -> None:
    store.away = True
    assert await continuations.begin(request(), owner="") is None
    assert await continuations.begin(request(store=True), owner="", session="home") is None


@pytest.mark.parametrize(
    "named",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
    ],
)
async def test_while_redis_is_away_a_request_that_names_something_stored_fails(
    store: MemoryStore, continuations: Continuations, named: dict[str, Any]
) -> None:
    store.away = True
    with pytest.raises(BusUnavailable):
        await continuations.begin(request() | named, owner="")


async def test_a_reply_still_counts_when_redis_goes_away_before_its_end(
    store: MemoryStore, continuations: Continuations
) -> None:
    begun = await continuations.begin(request(), owner="")
    assert begun is not None
    store.away = True
    await begun.keep(reply("resp_1"))
    assert not store.values


@pytest.mark.parametrize("status", ["failed", "cancelled", "in_progress"])
async def test_a_response_that_failed_is_not_stored(
    store: MemoryStore, continuations: Continuations, status: str
) -> None:
    begun = await continuations.begin(request(), owner="")
    assert begun is not None
    await begun.keep(reply("resp_1", status=status))
    assert not store.values


async def test_a_response_too_large_to_store_is_forgotten(
    store: MemoryStore, continuations: Continuations
) -> None:
    store.limit = 10
    begun = await continuations.begin(request(), owner="", session="home")
    assert begun is not None
    await begun.keep(reply("resp_1"))
    assert not store.values


async def test_what_named_something_stored_leaves_the_request(continuations: Continuations) -> None:
    first = await continuations.begin(request("one", store=True), owner="")
    assert first is not None
    await first.keep(reply("resp_1", "two"))
    second = await continuations.begin(request("three", previous_response_id="resp_1"), owner="")
    assert second is not None
    assert second.document.keys() == {"model", "input"}
    assert second.document["input"] == [
        {"role": "user", "content": "one"},
        reply("", "two")["output"][0],
        {"role": "user", "content": "three"},
    ]
    assert second.echo == {"store": True, "previous_response_id": "resp_1"}


async def test_a_session_older_than_its_responses_begins_anew(
    store: MemoryStore, continuations: Continuations
) -> None:
    first = await continuations.begin(request("one"), owner="", session="home")
    assert first is not None
    await first.keep(reply("resp_1"))
    del store.values["", "resp_1"]
    second = await continuations.begin(request("two"), owner="", session="home")
    assert second is not None
    assert second.document["input"] == [{"role": "user", "content": "two"}]
    with pytest.raises(StoredThingMissing):
        await continuations.begin(
            request("two", previous_response_id="resp_1"), owner="", session="home"
        )


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"role": "user", "content": "hi"}, False),
        ({"type": "message", "role": "developer", "content": "hi"}, False),
        ({"type": "function_call_output", "call_id": "1", "output": "2"}, False),
        ({"type": "custom_tool_call_output", "call_id": "1", "output": "2"}, False),
        ({"role": "assistant", "content": "hi"}, True),
        ({"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}, True),
        ({"type": "reasoning", "id": "rs_1", "summary": []}, True),
        ({"type": "item_reference", "id": "msg_1"}, True),
    ],
)
def test_items_that_only_a_model_produces_tell_the_history(
    item: dict[str, Any], told: bool
) -> None:
    assert tells_history([item]) is told


def test_an_id_made_for_an_input_item_never_reaches_a_provider() -> None:
    item = {"role": "user", "content": "hi"}
    named = item | {"id": made_id("resp_abc", 3, item)}
    assert named["id"] == "msg_abc_in3"
    assert without_made_id(named) == item
    assert without_made_id({"id": "msg_in"}) == {"id": "msg_in"}


@pytest.mark.parametrize(
    "given",
    [[], "text", {"a": 1}, {"k" * 65: "v"}, {"k": "v" * 513}, {str(n): "" for n in range(17)}],
)
def test_metadata_beyond_openais_limits_is_refused(given: Any) -> None:
    with pytest.raises(ClientError, match="metadata"):
        read_metadata(given)
