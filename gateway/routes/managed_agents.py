"""`/sdk/v1/agents` and `/sdk/v1/environments`: managed agents, and where their tools act."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from fastapi import APIRouter, Query, Request

from gateway.managed.bodies import (
    AgentBody,
    AgentChanges,
    EnvironmentBody,
    EnvironmentChanges,
)
from gateway.managed.listing import USUAL_PAGE, Cursor, Limit, Time, time_filter
from gateway.routes.parts import managed_of, owner_of
from shared.formats.ir import Json

Version = Annotated[int | None, Query(ge=1)]


@cache
def managed_agents_router() -> APIRouter:
    """Return the routes of agents and environments, built once in a process."""
    routes = APIRouter(prefix="/sdk/v1", tags=["managed agents"])
    add_agents(routes)
    add_environments(routes)
    return routes


def add_agents(routes: APIRouter) -> None:
    @routes.post("/agents")
    async def create_agent(request: Request, body: AgentBody) -> Json:
        """Store an agent: a model, instructions and tools."""
        return await managed_of(request).agents.create(owner_of(request), body)

    @routes.get("/agents")
    async def list_agents(
        request: Request,
        limit: Limit = USUAL_PAGE,
        page: Cursor = None,
        include_archived: bool = False,
        gte: Annotated[Time, Query(alias="created_at[gte]")] = None,
        lte: Annotated[Time, Query(alias="created_at[lte]")] = None,
    ) -> Json:
        """List the agents, the newest first."""
        return await managed_of(request).agents.page(
            owner_of(request),
            limit=limit,
            after=page,
            include_archived=include_archived,
            wanted=time_filter(gte=gte, lte=lte),
        )

    @routes.get("/agents/{agent_id}")
    async def retrieve_agent(request: Request, agent_id: str, version: Version = None) -> Json:
        """Return an agent, in its newest version or in `version`."""
        return await managed_of(request).agents.find(owner_of(request), agent_id, version)

    @routes.post("/agents/{agent_id}")
    async def update_agent(request: Request, agent_id: str, body: AgentChanges) -> Json:
        """Change an agent, which thereby has a new version. Sessions keep theirs."""
        return await managed_of(request).agents.update(owner_of(request), agent_id, body)

    @routes.post("/agents/{agent_id}/archive")
    async def archive_agent(request: Request, agent_id: str) -> Json:
        """Archive an agent: no new session can use it."""
        return await managed_of(request).agents.archive(owner_of(request), agent_id)

    @routes.get("/agents/{agent_id}/versions")
    async def list_agent_versions(
        request: Request, agent_id: str, limit: Limit = USUAL_PAGE, page: Cursor = None
    ) -> Json:
        """List the versions of an agent, the newest first; the last 100 are kept."""
        return await managed_of(request).agents.page_of_versions(
            owner_of(request), agent_id, limit=limit, after=page
        )


def add_environments(routes: APIRouter) -> None:
    @routes.post("/environments")
    async def create_environment(request: Request, body: EnvironmentBody) -> Json:
        """Store an environment. `cwd` in its metadata is the working folder of its sessions."""
        return await managed_of(request).environments.create(owner_of(request), body)

    @routes.get("/environments")
    async def list_environments(
        request: Request,
        limit: Limit = USUAL_PAGE,
        page: Cursor = None,
        include_archived: bool = False,
    ) -> Json:
        """List the environments, the newest first."""
        return await managed_of(request).environments.page(
            owner_of(request), limit=limit, after=page, include_archived=include_archived
        )

    @routes.get("/environments/{environment_id}")
    async def retrieve_environment(request: Request, environment_id: str) -> Json:
        """Return an environment."""
        return await managed_of(request).environments.find(owner_of(request), environment_id)

    @routes.post("/environments/{environment_id}")
    async def update_environment(
        request: Request, environment_id: str, body: EnvironmentChanges
    ) -> Json:
        """Change an environment. Sessions keep their folder."""
        return await managed_of(request).environments.update(
            owner_of(request), environment_id, body
        )

    @routes.post("/environments/{environment_id}/archive")
    async def archive_environment(request: Request, environment_id: str) -> Json:
        """Archive an environment: no new session can use it."""
        return await managed_of(request).environments.archive(owner_of(request), environment_id)

    @routes.delete("/environments/{environment_id}")
    async def delete_environment(request: Request, environment_id: str) -> Json:
        """Delete an environment. Sessions keep their folder."""
        return await managed_of(request).environments.delete(owner_of(request), environment_id)
