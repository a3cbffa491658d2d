"""The request's own tools, offered to the program as an MCP server that lives in this process.

A call is never answered: the reply to the client ends with `tool_use`, and the client's next
request carries the result. JSON-RPC by hand, because the tool schemas must reach the model exactly
as the client wrote them.
"""

from __future__ import annotations

from typing import Any

from shared.permissions import mcp

SERVER = "client"
PREFIX = f"mcp__{SERVER}__"


class ClientTools:
    """`tools` are custom tools in the Messages format."""

    def __init__(self, tools: list[dict[str, Any]]) -> None:
        self._listed = [
            {
                "name": tool["name"],
                "description": tool.get("description", ""),
                "inputSchema": tool["input_schema"],
            }
            for tool in tools
        ]

    async def answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Return the reply to one JSON-RPC message; None for a notification."""
        if "id" not in message:
            return mcp.NOTED
        if message.get("method") == "tools/call":
            return None
        return mcp.answer_message(message, self._listed, {"name": SERVER, "version": "1"})


def program_name(name: str) -> str:
    """Return the name under which the program calls the client's tool `name`."""
    return PREFIX + name


def client_name(name: str) -> str:
    """Return the client's own name of the tool that the program calls `name`."""
    return name.removeprefix(PREFIX)
