"""The request's own tools, offered to the program as an MCP server that lives in this process.

A call is never answered: the reply to the client ends with `tool_use`, and the client's next request carries the
result. JSON-RPC by hand, because the tool schemas must reach the model exactly as the client wrote them.
"""

from __future__ import annotations

from typing import Any

from shared import mcp

SERVER = "client"
PREFIX = f"mcp__{SERVER}__"


class ClientTools:
    """`tools` are custom tools in the Messages format."""

    def __init__(self, tools: list[dict[str, Any]]) -> None:
        self._listed = [
            {"name": tool["name"], "description": tool.get("description", ""), "inputSchema": tool["input_schema"]}
            for tool in tools
        ]

    async def answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """The reply to one JSON-RPC message; None where none may come."""
        method, params = message.get("method"), message.get("params") or {}
        if "id" not in message:
            return mcp.NOTED
        if method == "tools/call":
            return None
        if method == "tools/list":
            return mcp.result(message, {"tools": self._listed})
        if method == "initialize":
            server = {"name": SERVER, "version": "1"}
            version = params.get("protocolVersion")
            about: dict[str, Any] = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}
            return mcp.result(message, about)
        return mcp.error(message, mcp.METHOD_NOT_FOUND, f"{method} is not offered here")


def program_name(name: str) -> str:
    """What the program calls a tool of the client."""
    return PREFIX + name


def client_name(name: str) -> str:
    """What the client calls it."""
    return name.removeprefix(PREFIX)
