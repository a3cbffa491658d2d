"""A request's place among stored responses: the context before the request, and the storing of its
own response.

A request names its context by `previous_response_id`, by `conversation`, by references to items, or
by a session in its address. The request is completed here to one that says everything itself; the
names leave the body, so no provider has to know them. A request with `store: false` that names
nothing passes untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.providers import Outgoing
from gateway.proxy.stored.conversations import Conversations
from gateway.proxy.stored.memory import (
    ResponseMemory,
    StoredResponse,
    items_of,
    referenced,
    without_made_id,
)
from shared.bus.bounded import Use
from shared.formats.ir import Json
from shared.formats.responses.request_in import input_items
from shared.runtime.errors import BusUnavailable, ClientError, StoredThingMissing
from shared.runtime.log import get_log

STATEFUL_FIELDS = ("store", "previous_response_id", "conversation")
STORED_STATUSES = frozenset({"completed", "incomplete"})


@dataclass(slots=True)
class Continuation:
    """A request in progress that may continue stored responses.

    `document` is the request for the provider; `echo` holds the response's fields about storage.
    `earlier` are the responses before this one, oldest first.
    """

    memory: ResponseMemory
    conversations: Conversations
    owner: str
    document: Json
    echo: Json
    new_items: list[Json] = field(default_factory=list)
    earlier: list[str] = field(default_factory=list)
    conversation: str = ""
    session: str = ""
    stores: bool = True

    async def keep(self, response: Json) -> None:
        """Store `response`, as complete as the client sees the response. A failure to store is
        logged: the reply still counts.
        """
        entry = response.get("id")
        if (
            not self.stores
            or not isinstance(entry, str)
            or response.get("status") not in STORED_STATUSES
        ):
            return
        stored = StoredResponse(response, self.new_items, self.earlier)
        try:
            # The response first, then the names that lead to it: no name may lead to nothing.
            kept = await self.memory.save(self.owner, entry, stored)
            if kept and self.session:
                await self.memory.note_last(self.owner, self.session, entry)
            if kept and self.conversation:
                await self.conversations.append(self.owner, self.conversation, entry)
        except BusUnavailable as error:
            get_log().warning("response_not_stored", response_id=entry, reason=error.message)
            return
        if not kept:
            get_log().warning(
                "response_not_stored", response_id=entry, reason="larger than the token may store"
            )


class Continuations:
    """The maker of every request's Continuation. `available` returns True while Redis answers.

    Without `enabled` no response is stored, and a request that names a stored response is refused.
    """

    def __init__(
        self,
        memory: ResponseMemory,
        conversations: Conversations,
        available: Callable[[], bool],
        enabled: bool = True,
    ) -> None:
        self._enabled = enabled
        self._memory = memory
        self._conversations = conversations
        self._available = available

    async def uses(self, owners: Sequence[str]) -> dict[str, Use]:
        """Return the amount stored for each owner; no amount while storing is switched off. Raises
        BusUnavailable.
        """
        return await self._memory.uses(owners) if self._enabled else {}

    async def complete(self, request: Outgoing, *, session: str) -> Continuation | None:
        """Return the Continuation of `request`, which then says everything itself; None for a
        request that is left alone.

        Raises the errors of `begin`, and ClientError for a body that is no JSON object.
        """
        continuation = await self.begin(
            request.parsed(), owner=request.record.caller, session=session
        )
        if continuation is not None:
            request.rewrite(continuation.document)
        return continuation

    async def begin(self, document: Json, *, owner: str, session: str = "") -> Continuation | None:
        """Return the Continuation of a request; None when the request neither stores a response nor
        names a stored value.

        While Redis is away nothing is stored, which the response says (`"store": false`, as every
        provider is asked). `session` is a session named in the address. Raises ClientError,
        StoredThingMissing, and BusUnavailable for a request that names something stored while Redis
        is away.
        """
        stores = read_store(document) and self._enabled and self._available()
        previous = read_text(document, "previous_response_id")
        conversation = read_conversation(document)
        if previous and conversation:
            raise ClientError(
                "Mutually exclusive parameters: use `previous_response_id` or `conversation`, not "
                "both.",
                param="conversation",
            )
        items = read_items(document, required=not (previous or conversation))
        names_items = any(referenced(item) for item in items)
        names_stored = bool(previous or conversation or names_items)
        if names_stored and not self._enabled:
            raise ClientError(
                "Nothing is stored here (RESPONSES__ENABLED is off); send the conversation as "
                "input."
            )
        if not stores and not names_stored:
            return None
        earlier: list[str] = []
        before: list[Json] = []
        if conversation:
            before = await self._conversations.items(owner, conversation)
        elif previous:
            earlier, before = await self.context(owner, previous)
        # A client that sends the history itself would otherwise have its history twice.
        elif session and stores and not tells_history(items):
            earlier, before = await self._session(owner, session)
        # A referenced item that the earlier context already has is not repeated.
        known = {item.get("id") for item in before}
        items = [item for item in items if not referenced(item) or referenced(item) not in known]
        completed = {name: value for name, value in document.items() if name not in STATEFUL_FIELDS}
        completed.pop("messages", None)
        # The provider gets the items; `new_items` keeps the references, so that an item is stored
        # once.
        resolved = await self._memory.resolve(owner, items)
        completed["input"] = [without_made_id(item) for item in (*before, *resolved)]
        return Continuation(
            self._memory,
            self._conversations,
            owner,
            completed,
            echo_of(stores, earlier[-1] if earlier else None, conversation),
            new_items=items,
            earlier=earlier,
            conversation=conversation,
            session=session,
            stores=stores,
        )

    async def stored(self, owner: str, response_id: str) -> StoredResponse:
        """Return a stored response. Raises StoredThingMissing."""
        [found] = await self._memory.load(owner, [response_id])
        if found is None or not found.response:
            raise response_missing(response_id)
        return found

    async def delete(self, owner: str, response_id: str) -> None:
        """Delete a stored response. Raises StoredThingMissing."""
        await self.stored(owner, response_id)
        await self._memory.forget(owner, response_id)

    async def input_of(self, owner: str, response_id: str) -> list[Json]:
        """Return all input items of a stored response, oldest first, with ids."""
        stored = await self.stored(owner, response_id)
        before: list[Json] = []
        if stored.earlier:
            _, before = await self.context(owner, stored.earlier[-1])
        resolved = StoredResponse({}, await self._memory.resolve(owner, stored.input))
        return [*before, *items_of(response_id, resolved)]

    async def context(self, owner: str, previous: str) -> tuple[list[str], list[Json]]:
        """Return the ids of the stored responses up to `previous`, oldest first, and all items of
        the responses in order.

        Raises StoredThingMissing in the words OpenAI's clients know.
        """
        [last] = await self._memory.load(owner, [previous])
        if last is None:
            raise previous_missing(f"Previous response with id '{previous}' not found.")
        # Every response names all responses before it, so one read fetches the whole chain.
        before = await self._memory.load(owner, last.earlier)
        items: list[Json] = []
        for entry, stored in zip([*last.earlier, previous], [*before, last], strict=True):
            # With a gap the model would answer a conversation that never took place.
            if stored is None:
                raise previous_missing(
                    f"Previous response with id '{previous}' cannot be continued: '{entry}', on "
                    "which it builds, was deleted or has expired. Send the conversation as input."
                )
            resolved = await self._memory.resolve(owner, stored.input)
            items += items_of(entry, StoredResponse(stored.response, resolved))
        return [*last.earlier, previous], items

    async def _session(self, owner: str, session: str) -> tuple[list[str], list[Json]]:
        """Return the context of a session path; empty when the session is new or older than what is
        stored.
        """
        last = await self._memory.last_of(owner, session)
        if not last:
            return [], []
        try:
            return await self.context(owner, last)
        except StoredThingMissing:
            return [], []


def response_missing(response_id: str) -> StoredThingMissing:
    return StoredThingMissing(f"Response with id '{response_id}' not found.")


def previous_missing(message: str) -> StoredThingMissing:
    """Return the refusal of a `previous_response_id`, with OpenAI's code and status."""
    return StoredThingMissing(
        message, code="previous_response_not_found", param="previous_response_id", status=400
    )


def echo_of(stores: bool, previous: str | None, conversation: str) -> Json:
    """Return the storage fields of a response."""
    echo: Json = {"store": stores, "previous_response_id": previous}
    if conversation:
        echo["conversation"] = {"id": conversation}
    return echo


def read_store(document: Json) -> bool:
    """Return `store`; OpenAI's default is true. Raises ClientError."""
    store = document.get("store")
    if store is not None and not isinstance(store, bool):
        raise ClientError("store: expected true or false.", param="store")
    return store is not False


def read_text(document: Json, name: str) -> str:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise ClientError(f"{name}: expected text.", param=name)
    return value or ""


def read_conversation(document: Json) -> str:
    """Return the id of the conversation a request belongs to: `"conv_…"` or `{"id": "conv_…"}`.
    Raises ClientError.
    """
    given = document.get("conversation")
    named = given.get("id") if isinstance(given, dict) else given
    if given is not None and (not isinstance(named, str) or not named):
        raise ClientError(
            "conversation: expected an id, or an object with an `id`.", param="conversation"
        )
    return named or ""


def read_items(document: Json, *, required: bool) -> list[Json]:
    """Return the request's own input items. Raises ClientError when there must be some and are
    none.
    """
    if not required and document.get("input") is None and "messages" not in document:
        return []
    return [item.value for item in input_items(document)]


def tells_history(items: list[Json]) -> bool:
    """Return True when `items` include an item that only a model produces: the client sends the
    conversation itself.
    """
    for item in items:
        kind = item.get("type") or "message"
        from_client = kind.endswith("_output") or (
            kind == "message" and item.get("role") != "assistant"
        )
        if not from_client:
            return True
    return False
