"""A turn of a session as a request to `/sdk`, with the request's access record.

Invariant: the request names the session as its conversation, so one worker process answers all
turns of the session.
"""

from __future__ import annotations

import secrets
import time

from gateway.managed.narration import PROGRAM_NAMES
from gateway.managed.sessions import ManagedSession
from gateway.providers import Outgoing
from gateway.providers.sdk import DIRECTORY_HEADER, MESSAGES_HEADER
from gateway.providers.worker_choice import WORKER_HEADER
from shared.bus.channels import AccessRecord, CustomTool, ManagedTurn
from shared.formats.ir import Json

ENDPOINT = "/sdk/v1/sessions/{session_id}/events"
MOST_TOKENS = 32_000  # of one answer of the model


def open_turn_record(session: ManagedSession) -> AccessRecord:
    """Return the record of a new turn."""
    model = session.about["agent"]["model"]["id"]
    return AccessRecord(
        request_id=f"req_{secrets.token_hex(12)}",
        timestamp=time.time(),
        method="POST",
        path=ENDPOINT.replace("{session_id}", session.name.id),
        endpoint=ENDPOINT,
        caller=session.name.owner,
        provider="sdk",
        service_type="sdk",
        client_format="anthropic",
        model=model,
        asked_model=model,
        streaming=True,
        session_id=session.name.id,
        client_program="managed agent",
    )


def outgoing(session: ManagedSession, record: AccessRecord, messages: list[Json]) -> Outgoing:
    """Return a turn of `session` as a request to `/sdk`, in the conversation named like the
    session. `messages` are the conversation so far, the new message last.
    """
    agent = session.about["agent"]
    document: Json = {
        "model": agent["model"]["id"],
        "max_tokens": MOST_TOKENS,
        "stream": True,
        "messages": messages,
    }
    if agent["system"]:
        document["system"] = agent["system"]
    headers = {MESSAGES_HEADER: b"forward"}
    if session.folder:
        headers[DIRECTORY_HEADER] = session.folder.encode()
    if session.worker:
        headers[WORKER_HEADER] = session.worker.encode()
    request = Outgoing("POST", "/v1/messages", headers, b"", record, session=session.name.id)
    request.rewrite(document)
    request.managed = managed_turn(agent)
    return request


def managed_turn(agent: Json) -> ManagedTurn:
    """Return the tools open to a turn of `agent`; Claude Code's own by Claude Code's names."""
    policies = policies_of(agent)
    effort = agent["model"]["effort"]
    return ManagedTurn(
        tools=list(policies),
        asks=[name for name, policy in policies.items() if policy == "always_ask"],
        effort=effort["type"] if effort else "",
        custom_tools=[
            CustomTool(tool["name"], tool["description"], tool["input_schema"])
            for tool in agent["tools"]
            if tool["type"] == "custom"
        ],
    )


def policies_of(agent: Json) -> dict[str, str]:
    """Return the policies of all tools open to `agent`, by Claude Code's names."""
    found: dict[str, str] = {}
    for toolset in agent["tools"]:
        if toolset["type"] == "custom":
            continue
        own = {config["name"]: config for config in toolset["configs"]}
        for name, program_name in PROGRAM_NAMES.items():
            config = own.get(name, toolset["default_config"])
            if config["enabled"]:
                found[program_name] = config["permission_policy"]["type"]
    return found
