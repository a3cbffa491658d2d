"""Managed agents: a model, instructions and tools under an id, in numbered versions.

Invariant: an agent and its newest version are stored in one step, so a version that a client has
seen can be named later.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.managed.bodies import (
    AgentBody,
    AgentChanges,
    AgentSettings,
    CustomToolBody,
    EffortLevel,
    ModelConfig,
    ToolPolicy,
    Toolset,
    patched_metadata,
)
from gateway.managed.listing import new_id, page_of_found, time_now
from gateway.managed.objects import (
    LONG_SECONDS,
    TRIES,
    Collection,
    ManagedObjects,
    Put,
)
from shared.formats.ir import Json
from shared.runtime.errors import ClientError, Conflict, NotFound

MOST_VERSIONS = 100
AGENTS = Collection("agent", "agent", 500, LONG_SECONDS)
OWNERS_RULES = ToolPolicy(type="always_allow")  # the vendor's own default for this set of tools


def versions_of(agent_id: str) -> Collection:
    """Return the collection of an agent's versions."""
    return Collection(f"agent:{agent_id}", "version", MOST_VERSIONS, LONG_SECONDS)


class ManagedAgents:
    """The agents of every owner."""

    def __init__(self, objects: ManagedObjects) -> None:
        self._objects = objects

    async def create(self, owner: str, body: AgentBody) -> Json:
        """Store a new agent in its first version. Raises ClientError, TooLarge."""
        now = time_now()
        agent: Json = {
            "id": new_id("agent"),
            "archived_at": None,
            "created_at": now,
            "description": body.description or None,
            "execution_identity": {"type": "service_account"},
            "mcp_servers": [],
            "metadata": body.metadata,
            "model": resolved_model(body.model),
            "multiagent": None,
            "name": body.name,
            "skills": [],
            "system": body.system or None,
            "tools": resolved_tools(body),
            "type": "agent",
            "updated_at": now,
            "version": 1,
        }
        await self._objects.create(owner, Put(AGENTS, agent["id"], agent), version_put(agent))
        return agent

    async def find(self, owner: str, agent_id: str, version: int | None = None) -> Json:
        """Return an agent in the newest version or in `version`. Raises NotFound."""
        agent = (await self._objects.stored(owner, AGENTS, agent_id)).object
        if version is None or version == agent["version"]:
            return agent
        found = await self._objects.find(owner, versions_of(agent_id), str(version))
        if found is None:
            raise NotFound(f"The agent {agent_id!r} has no version {version} that is kept.")
        # Archived is the agent, whatever its version.
        return found.object | {"archived_at": agent["archived_at"]}

    async def update(self, owner: str, agent_id: str, changes: AgentChanges) -> Json:
        """Change an agent, in a new version. Raises NotFound, Conflict if the agent is archived or
        has another version than the client's.
        """

        def change(agent: Json) -> Json:
            if changes.version is not None and changes.version != agent["version"]:
                raise Conflict(
                    f"The agent has version {agent['version']}, not {changes.version}; read it "
                    "again before you change it."
                )
            changed = agent | changed_fields(agent, changes)
            if changed == agent:
                return agent
            return changed | {"version": agent["version"] + 1, "updated_at": time_now()}

        changed = await self._change(owner, agent_id, change)
        oldest = changed["version"] - MOST_VERSIONS
        if oldest >= 1 and (
            old := await self._objects.find(owner, versions_of(agent_id), str(oldest))
        ):
            await self._objects.delete(owner, versions_of(agent_id), str(oldest), old.data)
        return changed

    async def archive(self, owner: str, agent_id: str) -> Json:
        """Archive an agent: it stays readable, and no new session may use it. Raises NotFound."""

        def archived(agent: Json) -> Json:
            return agent | {"archived_at": agent["archived_at"] or time_now()}

        return await self._change(owner, agent_id, archived, even_archived=True)

    async def page(
        self,
        owner: str,
        *,
        limit: int,
        after: str | None,
        include_archived: bool,
        wanted: Callable[[Json], bool],
    ) -> Json:
        """Return a page of agents, the newest first. Raises ClientError for a wrong cursor."""
        walk = self._objects.walk(owner, AGENTS, after=after, oldest_first=False)
        return await page_of_found(
            walk,
            limit,
            lambda agent: wanted(agent) and (include_archived or not agent["archived_at"]),
        )

    async def page_of_versions(
        self, owner: str, agent_id: str, *, limit: int, after: str | None
    ) -> Json:
        """Return a page of an agent's versions, the newest first. Raises NotFound, ClientError."""
        await self._objects.stored(owner, AGENTS, agent_id)
        walk = self._objects.walk(owner, versions_of(agent_id), after=after, oldest_first=False)
        return await page_of_found(walk, limit, lambda _: True)

    async def _change(
        self,
        owner: str,
        agent_id: str,
        change: Callable[[Json], Json],
        *,
        even_archived: bool = False,
    ) -> Json:
        """Store the agent as returned by `change`, again from the start when another writer came
        first.
        """
        for _ in range(TRIES):
            stored = await self._objects.stored(owner, AGENTS, agent_id)
            if stored.object["archived_at"] and not even_archived:
                raise Conflict(f"The agent {agent_id!r} is archived, and cannot be changed.")
            changed = change(stored.object)
            if changed == stored.object:
                return changed
            puts = [Put(AGENTS, agent_id, changed, stored.data)]
            if changed["version"] != stored.object["version"]:
                puts.append(version_put(changed))
            if await self._objects.write(owner, *puts):
                return changed
        raise Conflict(f"The agent {agent_id!r} is being changed by others; try again.")


def version_put(agent: Json) -> Put:
    return Put(versions_of(agent["id"]), str(agent["version"]), agent)


def changed_fields(agent: Json, changes: AgentChanges) -> Json:
    """Return the fields named in `changes`, as stored. Raises ClientError for an attempt to clear a
    required field.
    """
    sent = changes.model_fields_set
    found: Json = {}
    for name in ("model", "name"):
        if name in sent and not getattr(changes, name):
            raise ClientError(f"{name}: cannot be cleared.", param=name)
    if "model" in sent and changes.model is not None:
        found["model"] = resolved_model(changes.model, agent["model"])
    if "name" in sent:
        found["name"] = changes.name
    if "description" in sent:
        found["description"] = changes.description or None
    if "system" in sent:
        found["system"] = changes.system or None
    if "tools" in sent:
        found["tools"] = resolved_tools(changes)
    if changes.metadata is not None:
        found["metadata"] = metadata_after(agent["metadata"], changes.metadata)
    return found


def metadata_after(known: dict[str, str], patch: dict[str, str | None]) -> dict[str, str]:
    """Return metadata after a patch. Raises ClientError past the limits."""
    try:
        return patched_metadata(known, patch)
    except ValueError as error:
        raise ClientError(f"metadata: {error}", param="metadata") from error


def resolved_model(given: str | ModelConfig, known: Json | None = None) -> Json:
    """Return a model in the vendor's object. A left-out effort stays the effort of `known`."""
    if isinstance(given, str):
        given = ModelConfig(id=given)
    effort = given.effort.type if isinstance(given.effort, EffortLevel) else given.effort
    kept = known["effort"] if known and "effort" not in given.model_fields_set else None
    return {
        "id": given.id,
        "effort": {"type": effort} if effort else kept,
        "inference_geo": None,
        "speed": "standard",
    }


def resolved_tools(settings: AgentSettings) -> list[Json]:
    """Return tools with every default filled in."""
    return [
        tool.model_dump() if isinstance(tool, CustomToolBody) else resolved_toolset(tool)
        for tool in settings.tools or []
    ]


def resolved_toolset(toolset: Toolset) -> Json:
    """Return Claude Code's tools with the settings in force for every named tool. Raises
    ClientError for a tool named twice, or by two names.
    """
    given = toolset.default_config
    enabled = True if given is None or given.enabled is None else given.enabled
    policy = (given.permission_policy if given else None) or OWNERS_RULES
    configs: dict[str, Json] = {}
    for each in toolset.configs:
        if each.name in configs or (each.type or each.name) != each.name:
            raise ClientError(
                f"tools: the settings of {each.name!r} are not one object.", param="tools"
            )
        configs[each.name] = {
            "enabled": enabled if each.enabled is None else each.enabled,
            "name": each.name,
            "permission_policy": {"type": (each.permission_policy or policy).type},
            "type": each.name,
        }
    return {
        "configs": list(configs.values()),
        "default_config": {"enabled": enabled, "permission_policy": {"type": policy.type}},
        "type": toolset.type,
    }
