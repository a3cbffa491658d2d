"""`ccproxy hook`: a hook of an agent that comes on the standard input, passed to the gateway; the
decision goes to the standard output.

Invariants: the exit code is 0 and the output is valid for the agent, whatever happens; a failure is
no decision. The connection ends with this process, so an agent that stops its hook withdraws the
request.
"""

from __future__ import annotations

import http.client
import json
import sys
from typing import Any
from urllib.parse import urlsplit

from ccproxy.cli.agent_hooks import (
    AGENT_HEADER,
    MACHINE_HEADER,
    NOTICE_PATH,
    PERMISSION_PATH,
    TOKEN_HEADER,
    AgentName,
    HookAccess,
)
from ccproxy.cli.exits import DONE
from ccproxy.cli.hook_access import read_access
from ccproxy.cli.output import show_json
from shared.permissions.hook_fields import ADDED, PERMISSION_EVENT, links_of, tool_input
from shared.settings.problems import ConfigurationError

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 90.0  # the gateway pings every 15
NOT_ASKED = "ccproxy was not asked: {why}"
NOT_INSTALLED = "it is not set up here; run `ccproxy hooks install {agent}`."


def run_hook(agent: AgentName, text: str | None = None) -> int:
    """Answer the hook in `text`, by default the standard input, and return the exit code."""
    try:
        body = json.loads(sys.stdin.read() if text is None else text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        show_json(without_decision("the hook sent no JSON object."), indent=None)
        return DONE
    is_permission = body.get("hook_event_name") == PERMISSION_EVENT
    access = None
    try:
        access = read_access(agent)
        if access is None:
            raise ConfigurationError(NOT_INSTALLED.format(agent=agent))
        answer = sent(access, agent, body, is_permission=is_permission)
    except ConfigurationError as error:
        answer = without_decision(error.message)
    except (OSError, http.client.HTTPException, ValueError) as error:
        answer = without_decision(
            f"{access.url if access else ''}: {error or type(error).__name__}"
        )
    # News is of no use when it cannot be told, and must not become the agent's problem.
    show_json(answer if is_permission else {}, indent=None)
    return DONE


def without_decision(why: str) -> dict[str, Any]:
    """Return an answer without a decision that tells the agent's user `why`."""
    return {"systemMessage": NOT_ASKED.format(why=why)}


def sent(
    access: HookAccess, agent: AgentName, body: dict[str, Any], *, is_permission: bool
) -> dict[str, Any]:
    """Send a hook and return the gateway's answer, or an answer without a decision for a refusal.

    Raises OSError, HTTPException or ValueError for a gateway that cannot be asked.
    """
    if is_permission:
        links = links_of(str(body.get("tool_name")), tool_input(body), str(body.get("cwd") or ""))
        body = body | {ADDED: {"links": links}}
    headers = {
        "content-type": "application/json",
        AGENT_HEADER: agent,
        MACHINE_HEADER: access.machine,
    }
    if access.token:
        headers[TOKEN_HEADER] = access.token
    address = urlsplit(access.url)
    is_secure = address.scheme == "https"
    kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
    connection = kind(address.netloc, timeout=CONNECT_SECONDS)
    path = address.path + (PERMISSION_PATH if is_permission else NOTICE_PATH)
    try:
        connection.connect()
        connection.sock.settimeout(SILENCE_SECONDS)
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != http.client.OK:
            return without_decision(f"{answer['error']['message']} (HTTP {response.status})")
    except (KeyError, TypeError) as error:
        raise ValueError("the answer is not one of ccproxy.") from error
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else {}
