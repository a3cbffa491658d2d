"""Managed agents, environments and sessions as objects: the official SDK, a real Redis, two
gateways.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from anthropic.types.beta import (
    BetaEnvironment,
    BetaEnvironmentDeleteResponse,
    BetaManagedAgentsAgent,
    BetaManagedAgentsDeletedSession,
    BetaManagedAgentsSession,
)

from tests.contract.conftest import OpenGateway
from tests.support.managed_types import check

MODEL = "claude-sonnet-4-5"
TOOLSET: Any = {
    "type": "agent_toolset_20260401",
    "default_config": {"enabled": False},
    "configs": [
        {"name": "read", "enabled": True},
        {"name": "bash", "enabled": True, "permission_policy": {"type": "always_ask"}},
    ],
}
WEATHER: Any = {
    "type": "custom",
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture
async def client(open_gateway_at: OpenGateway, tmp_path: Path) -> AsyncIterator[AsyncAnthropic]:
    url = await open_gateway_at(sdk={"working_roots": [tmp_path]})
    async with AsyncAnthropic(base_url=url + "/sdk", api_key="unused", max_retries=0) as opened:
        yield opened


@pytest.fixture
async def other(open_gateway_at: OpenGateway, tmp_path: Path) -> AsyncIterator[AsyncAnthropic]:
    """A client of a second gateway."""
    url = await open_gateway_at(sdk={"working_roots": [tmp_path]})
    async with AsyncAnthropic(base_url=url + "/sdk", api_key="unused", max_retries=0) as opened:
        yield opened


async def sent(call: Any, hint: Any) -> Any:
    """Return the object of a raw call, and fail if the reply is not exactly of the type `hint`."""
    raw = await call
    check(hint, await raw.json())
    return await raw.parse()


async def new_agent(client: AsyncAnthropic, **more: Any) -> BetaManagedAgentsAgent:
    given = {"name": "helper", "model": MODEL} | more
    call = client.beta.agents.with_raw_response.create(**given)
    return await sent(call, BetaManagedAgentsAgent)


async def new_session(client: AsyncAnthropic, **more: Any) -> BetaManagedAgentsSession:
    agent = await new_agent(client, tools=[TOOLSET])
    environment = await client.beta.environments.create(name="here")
    given = {"agent": agent.id, "environment_id": environment.id} | more
    call = client.beta.sessions.with_raw_response.create(**given)
    return await sent(call, BetaManagedAgentsSession)


async def test_an_agent_is_stored_with_its_defaults_and_found_at_another_gateway(client, other):
    created = await new_agent(client, tools=[TOOLSET], system="Be brief.", metadata={"team": "a"})
    assert (created.version, created.system, created.metadata) == (1, "Be brief.", {"team": "a"})
    [toolset] = created.tools
    assert toolset.default_config.permission_policy.type == "always_allow"
    assert [(each.name, each.enabled, each.permission_policy.type) for each in toolset.configs] == [
        ("read", True, "always_allow"),
        ("bash", True, "always_ask"),
    ]
    call = other.beta.agents.with_raw_response.retrieve(created.id)
    assert await sent(call, BetaManagedAgentsAgent) == created


async def test_every_change_of_an_agent_is_a_version_that_stays_readable(client, other):
    agent = await new_agent(client, metadata={"a": "1", "b": "2"})
    call = other.beta.agents.with_raw_response.update(
        agent.id,
        version=1,
        system="New.",
        metadata={"a": None, "c": "3"},
        model={"id": MODEL, "effort": "low"},
    )
    changed = await sent(call, BetaManagedAgentsAgent)
    assert (changed.version, changed.metadata) == (2, {"b": "2", "c": "3"})
    assert changed.model.effort.type == "low"
    with pytest.raises(anthropic.ConflictError, match="version 2, not 1"):
        await client.beta.agents.update(agent.id, version=1, name="late")
    assert (await client.beta.agents.update(agent.id, system="New.")).version == 2
    listed = [found async for found in client.beta.agents.versions.list(agent.id, limit=1)]
    assert [(found.version, found.system) for found in listed] == [(2, "New."), (1, None)]
    assert (await client.beta.agents.retrieve(agent.id, version=1)).metadata == agent.metadata
    with pytest.raises(anthropic.NotFoundError):
        await client.beta.agents.retrieve(agent.id, version=3)
    with pytest.raises(anthropic.BadRequestError, match="name"):
        await client.beta.agents.update(agent.id, name="")


async def test_agents_are_listed_in_pages_without_the_archived_ones(client):
    made = [(await new_agent(client, name=f"number {count}")).id for count in range(5)]
    archived = await client.beta.agents.archive(made[2])
    assert archived.archived_at is not None
    listed = [found.id async for found in client.beta.agents.list(limit=2)]
    assert listed == [made[4], made[3], made[1], made[0]]
    whole = [found.id async for found in client.beta.agents.list(include_archived=True)]
    assert whole == made[::-1]
    third = await client.beta.agents.retrieve(made[3])
    since = client.beta.agents.list(created_at_gte=third.created_at)
    assert [found.id async for found in since] == [made[4], made[3]]
    with pytest.raises(anthropic.ConflictError, match="archived"):
        await client.beta.agents.update(made[2], name="late")
    with pytest.raises(anthropic.BadRequestError, match="cursor"):
        await client.beta.agents.list(page="nonsense")


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({"mcp_servers": [{"type": "url", "name": "a", "url": "https://a"}]}, "mcp_servers"),
        ({"skills": [{"type": "anthropic", "skill_id": "xlsx"}]}, "skills"),
        ({"multiagent": {"type": "coordinator", "agents": []}}, "multiagent"),
        ({"model": {"id": MODEL, "speed": "fast"}}, "speed"),
        ({"model": {"id": MODEL, "inference_geo": "eu"}}, "inference_geo"),
        ({"name": ""}, "name"),
        ({"metadata": {f"k{count}": "v" for count in range(17)}}, "metadata"),
        ({"tools": [WEATHER, WEATHER]}, "two custom tools have the name 'weather'"),
        ({"tools": [WEATHER | {"name": "the weather"}]}, "name"),
        ({"tools": [WEATHER | {"name": "w" * 108}]}, "name"),
        ({"tools": [WEATHER | {"input_schema": {"type": "array"}}]}, "input_schema"),
        ({"tools": [WEATHER | {"input_schema": {"type": "object", "x": "y" * 2**17}}]}, "bytes"),
        ({"tools": [TOOLSET, TOOLSET]}, "tools"),
        ({"tools": [TOOLSET | {"configs": [{"name": "read"}, {"name": "read"}]}]}, "read"),
        ({"tools": [{"type": "mcp_toolset", "mcp_server_name": "a"}]}, "tools"),
        ({"extra_body": {"unheard": 1}}, "unheard"),
    ],
)
async def test_a_wish_that_is_not_served_is_refused_by_its_name(client, wish, named):
    with pytest.raises(anthropic.BadRequestError, match=named) as refused:
        await client.beta.agents.create(**{"name": "helper", "model": MODEL} | wish)
    assert refused.value.body["error"]["type"] == "invalid_request_error"


async def test_an_environment_is_a_folder_below_the_owners_roots(client, other, tmp_path):
    create = client.beta.environments.with_raw_response.create
    config: Any = {"type": "cloud", "networking": {"type": "unrestricted"}}
    metadata = {"cwd": str(tmp_path / "project")}
    made = await sent(create(name="here", config=config, metadata=metadata), BetaEnvironment)
    assert (made.config.type, made.metadata) == ("cloud", metadata)
    hosted = await sent(create(name="b", config={"type": "self_hosted"}), BetaEnvironment)
    assert hosted.config.type == "self_hosted"
    changed = await other.beta.environments.update(made.id, name="there", description="d")
    assert (changed.name, changed.description, changed.metadata) == ("there", "d", metadata)
    for outside in ("/etc", str(tmp_path / ".." / "elsewhere")):
        with pytest.raises(anthropic.PermissionDeniedError, match="SDK__WORKING_ROOTS"):
            await client.beta.environments.create(name="c", metadata={"cwd": outside})
        with pytest.raises(anthropic.PermissionDeniedError, match="SDK__WORKING_ROOTS"):
            await client.beta.environments.update(made.id, metadata={"cwd": outside})
    with pytest.raises(anthropic.BadRequestError, match="absolute"):
        await client.beta.environments.create(name="c", metadata={"cwd": "project"})
    with pytest.raises(anthropic.BadRequestError, match="packages"):
        await client.beta.environments.create(
            name="c", config={"type": "cloud", "packages": {"pip": ["requests"]}}
        )
    assert [found.id async for found in client.beta.environments.list(limit=1)] == [
        hosted.id,
        made.id,
    ]
    await client.beta.environments.archive(hosted.id)
    assert [found.id async for found in client.beta.environments.list()] == [made.id]
    delete = client.beta.environments.with_raw_response.delete(made.id)
    await sent(delete, BetaEnvironmentDeleteResponse)
    with pytest.raises(anthropic.NotFoundError):
        await client.beta.environments.retrieve(made.id)


async def test_a_session_keeps_the_agent_it_began_with(client, other):
    session = await new_session(client, title="first", metadata={"k": "v"})
    assert (session.status, session.title, session.usage.input_tokens) == ("idle", "first", 0)
    await client.beta.agents.update(session.agent.id, name="renamed")
    found = await other.beta.sessions.retrieve(session.id)
    assert (found.agent.name, found.agent.version) == ("helper", 1)
    newest = await client.beta.sessions.create(
        agent={
            "type": "agent_with_overrides",
            "id": session.agent.id,
            "system": "Other.",
            "tools": [],
        },
        environment_id=session.environment_id,
    )
    assert (newest.agent.name, newest.agent.version) == ("renamed", 2)
    assert (newest.agent.system, newest.agent.tools) == ("Other.", [])
    pinned = await client.beta.sessions.create(
        agent={"type": "agent", "id": session.agent.id, "version": 1},
        environment_id=session.environment_id,
    )
    assert pinned.agent.name == "helper"


async def test_sessions_are_listed_changed_archived_and_deleted(client, other):
    first = await new_session(client)
    second = await new_session(client)
    update = other.beta.sessions.with_raw_response.update(
        first.id, title="named", metadata={"a": "b"}, agent={"tools": []}
    )
    changed = await sent(update, BetaManagedAgentsSession)
    assert (changed.title, changed.metadata, changed.agent.tools) == ("named", {"a": "b"}, [])
    listed = [found.id async for found in client.beta.sessions.list(limit=1)]
    assert listed == [second.id, first.id]
    oldest = [found.id async for found in client.beta.sessions.list(limit=1, order="asc")]
    assert oldest == [first.id, second.id]
    of_agent = client.beta.sessions.list(agent_id=first.agent.id, statuses=["idle", "running"])
    assert [found.id async for found in of_agent] == [first.id]
    assert [found async for found in client.beta.sessions.list(statuses=["running"])] == []
    await other.beta.sessions.archive(first.id)
    assert [found.id async for found in client.beta.sessions.list()] == [second.id]
    with pytest.raises(anthropic.ConflictError, match="archived"):
        await client.beta.sessions.update(first.id, title="late")
    delete = other.beta.sessions.with_raw_response.delete(first.id)
    await sent(delete, BetaManagedAgentsDeletedSession)
    with pytest.raises(anthropic.NotFoundError):
        await client.beta.sessions.retrieve(first.id)


async def test_a_session_needs_an_agent_and_an_environment_that_can_be_used(client):
    session = await new_session(client)
    agent, environment = session.agent.id, session.environment_id
    create = client.beta.sessions.create
    with pytest.raises(anthropic.NotFoundError, match="agent_none"):
        await create(agent="agent_none", environment_id=environment)
    with pytest.raises(anthropic.NotFoundError, match="env_none"):
        await create(agent=agent, environment_id="env_none")
    for wish in ({"vault_ids": ["vlt_1"]}, {"resources": [{"type": "file", "file_id": "file_1"}]}):
        with pytest.raises(anthropic.BadRequestError, match=min(wish)):
            await create(agent=agent, environment_id=environment, **wish)
    await client.beta.environments.archive(environment)
    with pytest.raises(anthropic.ConflictError, match="archived"):
        await create(agent=agent, environment_id=environment)
    await client.beta.agents.archive(agent)
    with pytest.raises(anthropic.ConflictError, match="archived"):
        await create(agent=agent, environment_id=environment)


async def test_what_is_not_served_is_refused_by_name(client):
    session = await new_session(client)
    for call, named in (
        (client.beta.vaults.create(display_name="v"), "Vaults"),
        (client.beta.deployments.list(), "Deployments"),
        (client.beta.memory_stores.list(), "Memory stores"),
        (client.beta.sessions.resources.list(session.id), "Resources"),
        (client.beta.sessions.threads.list(session.id), "Threads"),
    ):
        with pytest.raises(anthropic.NotFoundError, match=named) as refused:
            await call
        assert refused.value.body["error"]["type"] == "not_found_error"


async def test_the_bytes_of_a_token_have_a_limit_that_deleting_makes_room_in(open_gateway_at):
    url = await open_gateway_at(sdk={"max_managed_bytes": 1024 * 1024})
    async with AsyncAnthropic(base_url=url + "/sdk", api_key="unused", max_retries=0) as client:
        agent = await new_agent(client, system="x" * 90_000)
        environment = await client.beta.environments.create(name="here")

        async def begin() -> str:
            begun = await client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
            return begun.id

        async def fill() -> None:
            for _ in range(20):
                await begin()

        first = await begin()
        with pytest.raises(anthropic.APIStatusError, match="MANAGED_BYTES") as refused:
            await fill()
        assert refused.value.status_code == 413
        await client.beta.sessions.delete(first)
        assert await begin() != first


async def test_the_scope_admin_sees_every_tokens_sessions_and_stops_them_and_makes_none_act(
    open_gateway_at: OpenGateway, tmp_path: Path
):
    tokens = [
        {"name": "laptop", "token": "l" * 32, "scopes": ["agent"]},
        {"name": "desk", "token": "d" * 32, "scopes": ["agent", "admin"]},
    ]
    security = {"auth_token": "o" * 32, "tokens": tokens}
    url = await open_gateway_at(sdk={"working_roots": [tmp_path]}, security=security)
    laptop, desk, owner = (
        AsyncAnthropic(base_url=url + "/sdk", api_key=letter * 32, max_retries=0)
        for letter in "ldo"
    )
    async with laptop, desk, owner:
        theirs = await new_session(laptop, title="Theirs")
        own = await new_session(owner)
        for admin in (desk, owner):
            listed = await admin.get("/sessions/managed", cast_to=object)
            sessions = [(each["id"], each["caller"]) for each in listed["sessions"]]
            assert sessions == [(own.id, "owner"), (theirs.id, "laptop")]
            with pytest.raises(anthropic.NotFoundError):
                await admin.beta.sessions.retrieve(theirs.id)
            named = {"x-ccproxy-caller": "laptop"}
            seen = await admin.beta.sessions.retrieve(theirs.id, extra_headers=named)
            assert seen.title == "Theirs"
            stop: Any = [{"type": "user.interrupt"}]
            await admin.beta.sessions.events.send(theirs.id, events=stop, extra_headers=named)
            speak: Any = [{"type": "user.message", "content": [{"type": "text", "text": "go"}]}]
            with pytest.raises(anthropic.PermissionDeniedError, match="interrupt alone"):
                await admin.beta.sessions.events.send(theirs.id, events=speak, extra_headers=named)
        with pytest.raises(anthropic.PermissionDeniedError, match="admin"):
            await laptop.get("/sessions/managed", cast_to=object)
        named = {"x-ccproxy-caller": "owner"}
        with pytest.raises(anthropic.PermissionDeniedError, match="admin"):
            await laptop.beta.sessions.retrieve(own.id, extra_headers=named)
