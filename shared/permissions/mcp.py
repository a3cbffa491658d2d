"""The Model Context Protocol as a permission tool needs it: five methods of JSON-RPC, no state, no
I/O.

The tool's answer is one text block whose text is JSON; `updatedInput` is always sent, because older
programs insist on it. Whatever goes wrong is a denial in words: an error would reach the model as a
fault to be tried again.
"""

from __future__ import annotations

import uuid
from typing import Any

from shared.bus.channels import PermissionDecision, PermissionRequest
from shared.formats.fields import inner_object
from shared.runtime.errors import CCProxyError, ClientError
from shared.runtime.exact_json import dump_json
from shared.runtime.version import VERSION

Message = dict[str, Any]

TOOL = "check_permission"
NEWEST_PROTOCOL = "2025-11-25"
# JSON-RPC 2.0
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
# Claude Code waits for a word even after a notification, where it speaks over its own pipes.
NOTED: Message = {"jsonrpc": "2.0", "result": {}}

TOOLS = [
    {
        "name": TOOL,
        "description": "Ask the owner of this machine whether a tool may act. Returns when "
        "somebody has decided.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "tool_name": {"type": "string", "description": "The tool that wants to act"},
                "input": {"type": "object", "description": "What it was called with"},
                "tool_use_id": {"type": "string", "description": "The id of the call"},
            },
            "required": ["tool_name", "input"],
        },
    }
]


SERVER = {"name": "ccproxy", "title": "CCProxy permissions", "version": VERSION}


def params_of(message: Message) -> Message:
    """Return the parameters of a message; an empty object for parameters that are no object."""
    return inner_object(message, "params")


def meta_of(message: Message) -> Message:
    """Return the `_meta` of a message's parameters; an empty object for any other value."""
    return inner_object(params_of(message), "_meta")


def result(message: Message, content: Any) -> Message:
    return {"jsonrpc": "2.0", "id": message.get("id"), "result": content}


def error_reply(message: Message, code: int, text: str) -> Message:
    return {"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": code, "message": text}}


def answer_message(
    message: Message, tools: list[Message] = TOOLS, server: Message = SERVER
) -> Message:
    """The answer to anything but a call of a tool."""
    match message.get("method"):
        case "initialize":
            version = params_of(message).get("protocolVersion")
            known = version if isinstance(version, str) else NEWEST_PROTOCOL
            return result(
                message,
                {"protocolVersion": known, "capabilities": {"tools": {}}, "serverInfo": server},
            )
        case "tools/list":
            return result(message, {"tools": tools})
        case "ping":
            return result(message, {})
        case method:
            return error_reply(message, METHOD_NOT_FOUND, f"{method} is not offered here")


def read_call(message: Message) -> Message:
    """The arguments of a call of the tool. Raises ClientError."""
    params = params_of(message)
    if params.get("name") != TOOL:
        raise ClientError(f"There is one tool here: {TOOL}.")
    arguments = params.get("arguments")
    if not isinstance(arguments, dict):
        raise ClientError("arguments: expected an object.")
    if not isinstance(arguments.get("tool_name"), str) or not isinstance(
        arguments.get("input"), dict
    ):
        raise ClientError("arguments: tool_name (text) and input (an object) are needed.")
    return arguments


def request_from(
    arguments: Message,
    *,
    caller: str,
    session_id: str,
    working_directory: str = "",
    asker: str = "",
) -> PermissionRequest:
    """Return a new permission request from the tool's arguments."""
    return PermissionRequest(
        str(uuid.uuid4()),
        arguments["tool_name"],
        arguments["input"],
        tool_use_id=str(arguments.get("tool_use_id") or ""),
        caller=caller,
        session_id=session_id,
        working_directory=working_directory,
        asker=asker,
    )


def progress_token(message: Message) -> Any:
    return meta_of(message).get("progressToken")


def progress(token: Any, count: int) -> Message:
    params = {
        "progressToken": token,
        "progress": count,
        "message": "Waiting for a person to decide.",
    }
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


def behavior(decision: PermissionDecision, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the decision in the shape read by Claude Code."""
    if decision.outcome == "allowed":
        changed = decision.updated_input
        return {"behavior": "allow", "updatedInput": asked if changed is None else changed}
    return deny(decision.message or "This was not allowed.")


def deny(message: str) -> dict[str, Any]:
    return {"behavior": "deny", "message": message}


def not_placed(failure: CCProxyError) -> dict[str, Any]:
    return deny(f"Nobody could be asked, so this was not allowed: {failure.message}")


def tool_result(message: Message, said: dict[str, Any]) -> Message:
    text = dump_json(said).decode()
    return result(message, {"content": [{"type": "text", "text": text}], "isError": False})


def mcp_event(message: Message) -> bytes:
    return b"event: message\ndata: %s\n\n" % dump_json(message)
