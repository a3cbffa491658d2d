"""`/sdk`: Claude through the SDK's workers, with the owner's local tools, and the conversations it
keeps by name.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from gateway.providers import Provider
from gateway.proxy.exchange import MakeExchange
from gateway.server.asgi import ASGIApp
from shared.bus import Bus
from shared.bus.channels import SESSION_PREFIX, WORKER_DRAIN, KnownSession, decode_payload
from shared.bus.session_store import RedisSessionStore
from shared.bus.wire import instance_of
from shared.runtime.errors import NotFound

HEARTBEAT = "process:"  # before the address of a process: the key of its heartbeat


def sdk_endpoints(
    exchange: MakeExchange, sdk: Provider, count_tokens: ASGIApp
) -> dict[str, ASGIApp]:
    """Return the paths answered by the SDK's workers, with and without a named conversation.

    Tokens are estimated: no worker counts without answering.
    """
    formats: dict[str, ASGIApp] = {
        "/v1/messages": exchange("anthropic", sdk, "/v1/messages"),
        "/v1/messages/count_tokens": count_tokens,
        "/v1/chat/completions": exchange("openai_chat", sdk, "/v1/messages"),
        "/v1/responses": exchange("openai_responses", sdk, "/v1/messages"),
    }
    return {
        f"/sdk{session}{path}": endpoint
        for session in ("", "/{session_id}")
        for path, endpoint in formats.items()
    }


def sdk_router(bus: Bus, transcripts: RedisSessionStore) -> APIRouter:
    """Return the routes of named conversations. `transcripts` has copies of what was said."""
    routes = APIRouter(prefix="/sdk/sessions", tags=["sdk"])

    async def known() -> dict[str, KnownSession]:
        return {
            key: decode_payload(KnownSession, value)
            for key, value in (await bus.scan(SESSION_PREFIX)).items()
        }

    @routes.get("")
    async def sessions() -> dict[str, Any]:
        """List the conversations that can be continued by name, the last used first."""
        newest = sorted((await known()).values(), key=lambda session: -session.last_used)
        return {"sessions": newest, "count": len(newest)}

    @routes.delete("/{name}")
    async def forget(name: str) -> dict[str, Any]:
        """Forget a conversation with the copy of its transcript in Redis, so that its name begins
        anew. The transcript stays on the owner's disk, where Claude Code keeps transcripts.
        """
        found = [each for each in (await known()).items() if each[1].name == name]
        if not found:
            raise NotFound(f"No conversation is known by the name {name!r}.")
        for key, session in found:
            await bus.delete(key)
            copy = {"project_key": key, "session_id": session.transcript}
            await transcripts.delete(copy)
        return {"forgotten": len(found)}

    return routes


def workers_router(bus: Bus) -> APIRouter:
    """Return the routes about single workers."""
    routes = APIRouter(prefix="/sdk/workers", tags=["sdk"])

    @routes.post("/{name}/drain")
    async def drain(name: str) -> dict[str, Any]:
        """Let a worker of any machine take no new turn, finish those that it has, and end."""
        keys = await bus.scan(f"{HEARTBEAT}sdk_worker:")
        addresses = [key.removeprefix(HEARTBEAT) for key in keys]
        wanted = [address for address in addresses if instance_of(address) == name]
        if not wanted:
            there = ", ".join(sorted(set(map(instance_of, addresses)))) or "none"
            raise NotFound(f"No worker is called {name!r}. The workers are: {there}.")
        for address in wanted:
            async with bus.call(WORKER_DRAIN.at(address), {}) as replies:
                async for _ in replies:
                    pass
        return {"draining": [name]}

    return routes
