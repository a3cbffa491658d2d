"""Sessions of managed agents: a snapshot of an agent in an environment, with a journal of its own.

Invariant: a session keeps the agent and the folder that it began with, whatever becomes of both.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.managed.agents import (
    ManagedAgents,
    metadata_after,
    resolved_model,
    resolved_tools,
)
from gateway.managed.bodies import (
    AgentReference,
    AgentSettings,
    OverriddenAgent,
    SessionBody,
    SessionChanges,
)
from gateway.managed.environments import FOLDER, WORKER, ManagedEnvironments
from gateway.managed.journal import (
    ANYBODY,
    OWN,
    SESSIONS,
    SessionJournals,
    SessionName,
    SessionState,
    keys_of_session,
)
from gateway.managed.listing import new_id, page_of_found, time_now
from gateway.managed.objects import TRIES, ListedObject, ManagedObjects, Put
from shared.formats.ir import Json
from shared.permissions.deciders import BY_LOCAL
from shared.runtime.errors import ClientError, Conflict

# The fields of an agent that a session's snapshot has.
SNAPSHOT = (
    "id",
    "description",
    "execution_identity",
    "mcp_servers",
    "model",
    "multiagent",
    "name",
    "skills",
    "system",
    "tools",
    "type",
    "version",
)


@dataclass(frozen=True, slots=True)
class ManagedSession:
    """A stored session: `about` has all fields for clients except the state, `folder` is the folder
    of the session's tools, `worker` the choice of workers.
    """

    name: SessionName
    about: Json
    folder: str | None
    worker: str = ""


class ManagedSessions:
    """The sessions of every owner."""

    def __init__(
        self,
        objects: ManagedObjects,
        journals: SessionJournals,
        agents: ManagedAgents,
        environments: ManagedEnvironments,
    ) -> None:
        self._objects = objects
        self._journals = journals
        self._agents = agents
        self._environments = environments

    async def create(self, owner: str, body: SessionBody, events: Sequence[Json] = ()) -> Json:
        """Store a new session, with `first` events in the queue. Raises NotFound for an unknown
        agent or environment, Conflict for an archived agent or environment, TooLarge.
        """
        agent = await self._snapshot(owner, body)
        environment = await self._environments.find(owner, body.environment_id)
        if environment["archived_at"]:
            raise Conflict(f"The environment {environment['id']!r} is archived.")
        now = time_now()
        session: Json = {
            "id": new_id("sesn"),
            "agent": agent,
            "archived_at": None,
            "budget": None,
            "created_at": now,
            "deployment_id": None,
            "environment_id": environment["id"],
            "metadata": body.metadata,
            "outcome_evaluations": [],
            "resources": [],
            "title": body.title,
            "type": "session",
            "updated_at": now,
            "vault_ids": [],
            OWN: {name: environment["metadata"].get(name) for name in (FOLDER, WORKER)},
        }
        # Noted first: a session that nobody lists would be worse than an owner without one.
        await self._objects.add_owner(owner)
        await self._objects.create(owner, Put(SESSIONS, session["id"], session))
        name = SessionName(owner, session["id"])
        if events:
            await self._journals.push(name, events)
        return shown_session(session, await self._journals.look(name))

    async def find(self, name: SessionName) -> ManagedSession:
        """Return a stored session. Raises NotFound."""
        stored = (await self._objects.stored(name.owner, SESSIONS, name.id)).object
        about = {key: value for key, value in stored.items() if key != OWN}
        own = stored[OWN]
        return ManagedSession(name, about, own[FOLDER], own.get(WORKER) or "")

    async def show(self, name: SessionName) -> Json:
        """Return a session as clients see it. Raises NotFound."""
        stored = await self._objects.stored(name.owner, SESSIONS, name.id)
        return shown_session(stored.object, await self._journals.look(name))

    async def update(self, name: SessionName, changes: SessionChanges) -> Json:
        """Change a session, and log the change. Raises NotFound, Conflict for an archived session,
        or for another agent while a turn runs.
        """
        state = await self._journals.look(name)
        if changes.agent is not None and state.status != "idle":
            raise Conflict("agent: the session is running; interrupt it, or wait until it is idle.")
        for _ in range(TRIES):
            stored = await self._objects.stored(name.owner, SESSIONS, name.id)
            if stored.object["archived_at"]:
                raise Conflict(f"The session {name.id!r} is archived.")
            news = changed_parts(stored.object, changes)
            if not news:
                return shown_session(stored.object, state)
            session = stored.object | news | {"updated_at": time_now()}
            if await self._objects.write(name.owner, Put(SESSIONS, name.id, session, stored.data)):
                event = update_event(news)
                await self._journals.commit(name, ANYBODY, logged=[event])
                return shown_session(session, await self._journals.look(name))
        raise Conflict(f"The session {name.id!r} is being changed by others; try again.")

    async def archive(self, name: SessionName) -> Json:
        """Archive a session: it stays readable, and takes no more events. Raises NotFound, Conflict
        for a running session.
        """
        for _ in range(TRIES):
            stored = await self._objects.stored(name.owner, SESSIONS, name.id)
            state = await self._journals.look(name)
            refuse_running(name, state)
            session = stored.object
            if not session["archived_at"]:
                session = session | {"archived_at": time_now()}
            if await self._objects.write(name.owner, Put(SESSIONS, name.id, session, stored.data)):
                return shown_session(session, state)
        raise Conflict(f"The session {name.id!r} is being changed by others; try again.")

    async def delete(self, name: SessionName) -> Json:
        """Delete a session with all events. Raises NotFound, Conflict for a running session."""
        for _ in range(TRIES):
            stored = await self._objects.stored(name.owner, SESSIONS, name.id)
            refuse_running(name, await self._journals.look(name))
            if await self._objects.delete(
                name.owner, SESSIONS, name.id, stored.data, keys_of_session(name)
            ):
                last = {"id": new_id("sevt"), "processed_at": time_now(), "type": "session.deleted"}
                await self._journals.end_log(name, last)
                return {"id": name.id, "type": "session_deleted"}
        raise Conflict(f"The session {name.id!r} is being changed by others; try again.")

    async def page(
        self,
        owner: str,
        *,
        limit: int,
        after: str | None,
        oldest_first: bool,
        wanted: Callable[[Json], bool],
    ) -> Json:
        """Return a page of the `wanted` sessions. Raises ClientError for a wrong cursor."""
        walk = self._objects.walk(owner, SESSIONS, after=after, oldest_first=oldest_first)
        page = await page_of_found(self._with_state(owner, walk), limit, wanted)
        return page | {"prev_page": None}

    async def newest_of_all(self, limit: int, wanted: Callable[[Json], bool]) -> list[Json]:
        """Return up to `limit` of the `wanted` sessions of all owners, the newest first, each with
        the name of the owner's token in `caller`, the folder of the tools in `folder`, and True in
        `waits` while an answer is awaited.
        """
        found: list[Json] = []
        for owner in await self._objects.owners():
            walk = self._objects.walk(owner, SESSIONS, after=None, oldest_first=False)
            # The newest of all are among the newest of each.
            page = await page_of_found(walk, limit, wanted)
            found += [session | {"caller": owner} for session in page["data"]]
        found.sort(key=lambda session: str(session["created_at"]), reverse=True)
        return [await self._with_facts(session) for session in found[:limit]]

    async def _with_facts(self, session: Json) -> Json:
        owner = session.pop("caller")
        state = await self._journals.look(SessionName(owner, session["id"]))
        facts = {
            "caller": owner or BY_LOCAL,
            "folder": session[OWN][FOLDER],
            "waits": bool(state.waiting),
        }
        return shown_session(session, state) | facts

    async def _with_state(
        self, owner: str, walk: AsyncIterator[ListedObject]
    ) -> AsyncIterator[ListedObject]:
        async for found in walk:
            state = await self._journals.look(SessionName(owner, found.object["id"]))
            yield ListedObject(shown_session(found.object, state), found.cursor)

    async def _snapshot(self, owner: str, body: SessionBody) -> Json:
        """Return the agent of a new session in the form kept by the session. Raises NotFound,
        Conflict.
        """
        given = body.agent
        if isinstance(given, str):
            given = AgentReference(type="agent", id=given)
        agent = await self._agents.find(owner, given.id, given.version)
        if agent["archived_at"]:
            raise Conflict(f"The agent {given.id!r} is archived; no new session can use it.")
        snapshot = {name: agent[name] for name in SNAPSHOT}
        return snapshot | (overrides(given, agent) if isinstance(given, OverriddenAgent) else {})


def overrides(given: AgentSettings, agent: Json) -> Json:
    """Return the settings of `agent` replaced by a session. Raises ClientError."""
    found: Json = {}
    if "model" in given.model_fields_set:
        if given.model is None:
            raise ClientError("agent.model: cannot be cleared.", param="agent.model")
        found["model"] = resolved_model(given.model, agent["model"])
    if "system" in given.model_fields_set:
        found["system"] = given.system or None
    if "tools" in given.model_fields_set:
        found["tools"] = resolved_tools(given)
    return found


def changed_parts(session: Json, changes: SessionChanges) -> Json:
    """Return the fields with new values from `changes`. Raises ClientError."""
    found: Json = {}
    if "title" in changes.model_fields_set:
        found["title"] = changes.title
    if changes.metadata is not None:
        found["metadata"] = metadata_after(session["metadata"], changes.metadata)
    if changes.agent is not None and "tools" in changes.agent.model_fields_set:
        settings = AgentSettings.model_construct(tools=changes.agent.tools)
        found["agent"] = session["agent"] | {"tools": resolved_tools(settings)}
    return {name: value for name, value in found.items() if session[name] != value}


def update_event(news: Json) -> Json:
    """Return the event of a change. Cleared metadata is not in the event, as with the vendor."""
    shown = {name: value for name, value in news.items() if name != "metadata" or value}
    return {"id": new_id("sevt"), "processed_at": time_now(), "type": "session.updated"} | shown


def refuse_running(name: SessionName, state: SessionState) -> None:
    """Raise Conflict for a session with a turn, or with queued events."""
    if state.waiting:
        raise Conflict(
            f"The session {name.id!r} waits for an answer in the middle of a turn; answer it, or "
            "send user.interrupt."
        )
    if state.turn is not None or state.queue:
        raise Conflict(
            f"The session {name.id!r} is running; send user.interrupt, or wait until it is idle."
        )


def shown_session(session: Json, state: SessionState) -> Json:
    """Return a stored session as clients see it, with state and sums."""
    about = {key: value for key, value in session.items() if key != OWN}
    since = datetime.fromisoformat(session["created_at"]).timestamp()
    return about | {
        "stats": {
            "active_seconds": active_seconds(state),
            "duration_seconds": max(0.0, time.time() - since),
        },
        "status": state.status,
        "usage": session_usage(state),
    }


def active_seconds(state: SessionState) -> float:
    """Return the seconds of all turns so far, the running turn included."""
    running = max(0.0, time.time() - state.turn["began"]) if state.turn else 0.0
    return state.counts.get("active_ms", 0) / 1000 + running


def session_usage(state: SessionState) -> Json:
    """Return the tokens of all turns, in the vendor's object."""
    counts: dict[str, Any] = state.counts
    hour = counts.get("cache_write_1h_tokens", 0)
    return {
        "active_seconds": active_seconds(state),
        "cache_creation": {
            "ephemeral_1h_input_tokens": hour,
            "ephemeral_5m_input_tokens": counts.get("cache_write_tokens", 0) - hour,
        },
        "cache_read_input_tokens": counts.get("cache_read_tokens", 0),
        "input_tokens": counts.get("tokens_input", 0),
        "list_cost": None,
        "output_tokens": counts.get("tokens_output", 0),
        "server_tool_use": None,
    }
