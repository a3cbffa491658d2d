"""The parts of the vendor's managed agents without a counterpart here, each refused by its name."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter

from shared.formats.ir import Json
from shared.runtime.errors import NotFound

METHODS = ["DELETE", "GET", "POST"]
# The address below /sdk/v1, and why nothing is there.
UNSERVED = {
    "vaults": "Vaults are not served here: the agent's tools use this machine's own credentials.",
    "deployments": "Deployments are not served here: send the session's events yourself.",
    "deployment_runs": "Deployments are not served here: send the session's events yourself.",
    "memory_stores": "Memory stores are not served here: keep notes in the working folder.",
    "dreams": "Dreams are not served here.",
    "tunnels": "Tunnels are not served here: the agent's tools run on this machine.",
    "user_profiles": "User profiles are not served here: `ccproxy token add` makes one token each.",
    "files": "Files are not served at /sdk: the agent's tools read the working folder.",
    "skills": "Skills are not served at /sdk.",
    "sessions/{session_id}/resources": "Resources are not served here: nothing is mounted, and the "
    "agent's tools act in the environment's folder.",
    "sessions/{session_id}/threads": "Threads are not served here: a session has one agent.",
    "environments/{environment_id}/work": "The work queue of an environment is not served here: "
    "this server's own workers run the turns.",
}


@cache
def managed_unserved_router() -> APIRouter:
    """Return the routes that refuse, built once in a process."""
    routes = APIRouter(prefix="/sdk/v1")
    for address, why in UNSERVED.items():
        add_refusal(routes, address, why)
    return routes


def add_refusal(routes: APIRouter, address: str, why: str) -> None:
    async def refuse() -> Json:
        raise NotFound(why)

    for path in (f"/{address}", f"/{address}/{{rest:path}}"):
        routes.add_api_route(path, refuse, methods=METHODS, include_in_schema=False)
