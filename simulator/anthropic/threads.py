"""Conversations the service holds between turns: named by their last reply, continued once, with
only what is new.
"""

from __future__ import annotations

from typing import Any

from simulator.anthropic.problem import AnthropicProblem

KEPT = 1_000
HELD_FIELDS = ("system", "tools")  # what a continuing request leaves out and may not change


class Threads:
    def __init__(self) -> None:
        self._held: dict[str, dict[str, Any]] = {}

    def resume(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the request with the whole conversation."""
        thread = body.get("thread") or {}
        if thread.get("type") != "continue":
            return body
        # Taken out: each message is continued once.
        held = self._held.pop(str(thread.get("previous_message_id")), None)
        if held is None:
            raise AnthropicProblem(
                404, "No Thread was found for previous_message_id.", code="thread_not_found"
            )
        return body | held | {"messages": held["messages"] + body["messages"]}

    def keep(self, body: dict[str, Any], message: dict[str, Any]) -> None:
        if not body.get("thread"):
            return
        messages = [*body["messages"], {"role": "assistant", "content": message["content"]}]
        self._held[message["id"]] = {name: body[name] for name in HELD_FIELDS if name in body} | {
            "messages": messages
        }
        if len(self._held) > KEPT:
            del self._held[next(iter(self._held))]
