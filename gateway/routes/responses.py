"""Stored responses and conversations, at every address whose clients may store them.

All addresses share one memory: a response that a token stored through one provider is found, and
continued, through any provider.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request
from starlette.responses import JSONResponse, Response

from gateway.proxy.estimate import estimate
from gateway.proxy.stored.conversations import ITEMS_AT_ONCE, read_metadata
from gateway.routes.parts import owner_of, parts_of
from shared.formats.ir import Json
from shared.runtime.errors import ClientError, StoredThingMissing

PREFIXES = ("/api/v1", "/codex", "/codex/v1", "/sdk/v1")
ESTIMATE = {"x-ccproxy-estimate": "true"}

Limit = Annotated[int, Query(ge=1, le=100)]
Order = Literal["asc", "desc"]
Document = Annotated[dict[str, Any], Body()]


@cache
def responses_router() -> APIRouter:
    """Return the routes of stored responses and conversations under every prefix.

    They are built once in a process (`gateway.routes.parts`).
    """
    routes = APIRouter()
    for prefix in PREFIXES:
        below = APIRouter(prefix=prefix, tags=["stored"])
        add_responses(below)
        add_conversations(below)
        add_conversation_items(below)
        routes.routes.extend(below.routes)
    return routes


def add_responses(routes: APIRouter) -> None:
    @routes.post("/responses/input_tokens")
    async def count(request: Request, document: Document) -> Response:
        """Estimate the input tokens of a Responses request, stored context included."""
        continuation = await parts_of(request).continuations.begin(
            document, owner=owner_of(request)
        )
        whole = document if continuation is None else continuation.document
        counted = {"object": "response.input_tokens", "input_tokens": estimate(whole)}
        return JSONResponse(counted, headers=ESTIMATE)

    @routes.get("/responses/{response_id}")
    async def retrieve(request: Request, response_id: str, stream: bool = False) -> Json:
        """Return a stored response as the client saw it."""
        if stream:
            raise ClientError(
                "stream: a stored response is returned whole; leave `stream` out.", param="stream"
            )
        return (
            await parts_of(request).continuations.stored(owner_of(request), response_id)
        ).response

    @routes.delete("/responses/{response_id}")
    async def delete(request: Request, response_id: str) -> Json:
        """Delete a stored response. Later responses that build on the deleted response cannot be
        continued any more.
        """
        await parts_of(request).continuations.delete(owner_of(request), response_id)
        return {"id": response_id, "object": "response", "deleted": True}

    @routes.post("/responses/{response_id}/cancel")
    async def cancel(response_id: str) -> Json:
        """Refuse: only a response that runs in the background could be cancelled, and no response
        runs in the background here.
        """
        raise ClientError(
            f"Response '{response_id}' does not run in the background, so it cannot be cancelled."
        )

    @routes.get("/responses/{response_id}/input_items")
    async def input_items(
        request: Request,
        response_id: str,
        limit: Limit = 20,
        order: Order = "desc",
        after: str | None = None,
    ) -> Json:
        """List the items a stored response answered, including the items of earlier responses."""
        items = await parts_of(request).continuations.input_of(owner_of(request), response_id)
        return listed(items, limit, order, after)


def add_conversations(routes: APIRouter) -> None:
    @routes.post("/conversations")
    async def create(request: Request, document: Document) -> Json:
        """Create a conversation, with up to 20 first items."""
        items = read_new_items(document.get("items") or [])
        metadata = read_metadata(document.get("metadata"))
        conversation = await parts_of(request).conversations.create(
            owner_of(request), items, metadata
        )
        return await described_conversation(request, conversation)

    @routes.get("/conversations/{conversation_id}")
    async def retrieve(request: Request, conversation_id: str) -> Json:
        """Return the id, the creation time and the metadata of a conversation."""
        return await described_conversation(request, conversation_id)

    @routes.post("/conversations/{conversation_id}")
    async def update(request: Request, conversation_id: str, document: Document) -> Json:
        """Replace a conversation's metadata."""
        metadata = read_metadata(document.get("metadata"))
        await parts_of(request).conversations.update(owner_of(request), conversation_id, metadata)
        return await described_conversation(request, conversation_id)

    @routes.delete("/conversations/{conversation_id}")
    async def delete(request: Request, conversation_id: str) -> Json:
        """Delete a conversation; its responses stay under the responses' own ids."""
        await parts_of(request).conversations.delete(owner_of(request), conversation_id)
        return {"id": conversation_id, "object": "conversation.deleted", "deleted": True}


def add_conversation_items(routes: APIRouter) -> None:
    @routes.get("/conversations/{conversation_id}/items")
    async def list_items(
        request: Request,
        conversation_id: str,
        limit: Limit = 20,
        order: Order = "desc",
        after: str | None = None,
    ) -> Json:
        """List a conversation's items."""
        items = await parts_of(request).conversations.items(owner_of(request), conversation_id)
        return listed(items, limit, order, after)

    @routes.post("/conversations/{conversation_id}/items")
    async def add_items(request: Request, conversation_id: str, document: Document) -> Json:
        """Add up to 20 items to the end of a conversation."""
        items = read_new_items(document.get("items"))
        added = await parts_of(request).conversations.add(owner_of(request), conversation_id, items)
        return listed(added, len(added), "asc", None)

    @routes.get("/conversations/{conversation_id}/items/{item_id}")
    async def one_item(request: Request, conversation_id: str, item_id: str) -> Json:
        """Return an item of a conversation."""
        for item in await parts_of(request).conversations.items(owner_of(request), conversation_id):
            if item["id"] == item_id:
                return shown_item(item)
        raise StoredThingMissing(f"Item with id '{item_id}' not found.")

    @routes.delete("/conversations/{conversation_id}/items/{item_id}")
    async def remove_item(request: Request, conversation_id: str, item_id: str) -> Json:
        """Remove an item from a conversation, and return the conversation."""
        await parts_of(request).conversations.remove_item(
            owner_of(request), conversation_id, item_id
        )
        return await described_conversation(request, conversation_id)


async def described_conversation(request: Request, conversation_id: str) -> Json:
    """Return a conversation as OpenAI's object. Raises StoredThingMissing."""
    about = await parts_of(request).conversations.about(owner_of(request), conversation_id)
    return {
        "id": conversation_id,
        "object": "conversation",
        "created_at": about.created_at,
        "metadata": about.metadata,
    }


def read_new_items(given: Any) -> list[Json]:
    """Return the items a client adds to a conversation. Raises ClientError."""
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise ClientError("items: expected a list of items.", param="items")
    if len(given) > ITEMS_AT_ONCE:
        raise ClientError(f"items: at most {ITEMS_AT_ONCE} at once.", param="items")
    return given


def listed(items: list[Json], limit: int, order: Order, after: str | None) -> Json:
    """Return one page of `items` in OpenAI's list object. Raises ClientError for an unknown
    `after`.
    """
    wanted = items if order == "asc" else items[::-1]
    if after is not None:
        ids = [item["id"] for item in wanted]
        if after not in ids:
            raise ClientError(f"after: no item has the id '{after}'.", param="after")
        wanted = wanted[ids.index(after) + 1 :]
    page = [shown_item(item) for item in wanted[:limit]]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(wanted) > limit,
    }


def shown_item(item: Json) -> Json:
    """Return `item` as in OpenAI's lists: with a type, a status, and content as parts."""
    if (item.get("type") or "message") != "message":
        return item
    content = item.get("content")
    if isinstance(content, str):
        kind = "output_text" if item.get("role") == "assistant" else "input_text"
        content = [{"type": kind, "text": content}]
    return {"type": "message", "status": "completed", **item, "content": content}
