"""What the endpoints of a gateway find at their application.

FastAPI needs about a millisecond to build a route. So the large routers are built once in a
process, and serve every gateway that the process opens; an endpoint asks its request for the
gateway's own parts, and keeps none between requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request

from gateway.capture.captures import Captures
from gateway.managed.agents import ManagedAgents
from gateway.managed.environments import ManagedEnvironments
from gateway.managed.events import SessionEvents
from gateway.managed.sessions import ManagedSessions
from gateway.proxy.active_requests import ActiveRequests
from gateway.proxy.stored.continuation import Continuations
from gateway.proxy.stored.conversations import Conversations
from gateway.routes.permission_client import PermissionClient
from gateway.server.asgi import ASGIApp
from gateway.server.context import context_of
from gateway.server.known_tokens import KnownTokens
from shared.bus import Bus
from shared.settings.tree import ObservabilitySettings


@dataclass(frozen=True, slots=True)
class ManagedParts:
    """The managed agents of a gateway, where they act, and their sessions."""

    agents: ManagedAgents
    environments: ManagedEnvironments
    sessions: ManagedSessions
    events: SessionEvents


@dataclass(frozen=True, slots=True)
class RouteParts:
    """The parts of one gateway that its endpoints use."""

    bus: Bus
    active_requests: ActiveRequests
    observability: ObservabilitySettings
    permissions: PermissionClient
    continuations: Continuations
    conversations: Conversations
    managed: ManagedParts
    captures: Captures
    tokens: KnownTokens
    endpoints: Mapping[str, ASGIApp]  # by address: the endpoints of models


def parts_of(request: Request) -> RouteParts:
    """Return the parts of the gateway that got `request`."""
    parts: RouteParts = request.app.state.parts
    return parts


def managed_of(request: Request) -> ManagedParts:
    """Return the managed agents of the gateway that got `request`."""
    return parts_of(request).managed


def owner_of(request: Request) -> str:
    """Return the name of the token that `request` came with: the owner of what it stores."""
    caller: str = context_of(request.scope).record.caller
    return caller
