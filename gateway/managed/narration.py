"""A turn's frames as the events of its session. Pure: no clock but the events' own time, no I/O.

Invariants: a tool call is an event before its result, and once only; what waits for a confirmation
or a result is named by the event of its call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.managed.listing import new_id, time_now
from shared.bus.channels import (
    CUSTOM_CALL_NOTE,
    CUSTOM_TOOLS_PREFIX,
    PERMISSION_NOTE,
    CustomCallNote,
    PermissionNote,
    decode_payload,
)
from shared.formats.ir import Json
from shared.formats.sse import ServerSentEvent
from shared.runtime.exact_json import dump_json, load_json

# The vendor's names of the tools, and Claude Code's.
PROGRAM_NAMES = {
    "bash": "Bash",
    "edit": "Edit",
    "read": "Read",
    "write": "Write",
    "glob": "Glob",
    "grep": "Grep",
    "web_fetch": "WebFetch",
    "web_search": "WebSearch",
}
AGENT_NAMES = {theirs: ours for ours, theirs in PROGRAM_NAMES.items()}
MOST_RESULT_CHARS = 100_000  # of one text in a tool's result
BY_OWNERS_RULES = "owner_rules"
EXHAUSTED: Json = {"type": "exhausted"}
RETRYING: Json = {"type": "retrying"}


@dataclass(slots=True)
class NarratedCall:
    """A tool call of the turn: `use` is the call's block, `event_id` the id of the call's event,
    `note` the state of the call's permission, `custom` the state of a custom tool's call.
    """

    event_id: str
    use: Json | None = None
    note: PermissionNote | None = None
    custom: CustomCallNote | None = None
    is_shown: bool = False


class TurnNarrator:
    """The narrator of a turn: `feed` takes the turn's frames, `take_events` returns the session's
    new events. `policies` are the agent's, by Claude Code's names of tools.

    `waiting` names what a person must decide, and what the client must answer, by the event of the
    call. `error` is the provider's, from an `error` frame.
    """

    def __init__(self, policies: Mapping[str, str]) -> None:
        self.waiting: dict[str, Json] = {}
        self.error: Json | None = None
        self._policies = policies
        self._events: list[Json] = []
        self._calls: dict[str, NarratedCall] = {}
        self._blocks: dict[int, Json] = {}
        self._confirmed: set[str] = set()

    def feed(self, frame: ServerSentEvent) -> None:
        """Note a frame."""
        if frame.name == PERMISSION_NOTE:
            self._note(decode_payload(PermissionNote, frame.data))
            return
        if frame.name == CUSTOM_CALL_NOTE:
            self._note_custom(decode_payload(CustomCallNote, frame.data))
            return
        payload = load_json(frame.data)
        match payload.get("type"):
            case "content_block_start":
                self._blocks[payload["index"]] = dict(payload["content_block"])
            case "content_block_delta" if payload["delta"].get("type") == "text_delta":
                self._blocks[payload["index"]]["text"] += payload["delta"]["text"]
            case "content_block_stop":
                self._finish(self._blocks.pop(payload["index"], {}))
            case "error":
                self.error = payload.get("error") or {}

    def confirm(self, event_id: str) -> None:
        """Note that the log already has the client's own confirmation of a call."""
        self._confirmed.add(event_id)

    def answer(self, event_id: str) -> Json | None:
        """Return what waits for the client's result of the custom tool's call `event_id`, and end
        the wait; None if nothing waits.
        """
        if "tool_use_id" not in self.waiting.get(event_id, {}):
            return None
        found = self.waiting.pop(event_id)
        self._add_status()
        return found

    def take_events(self) -> list[Json]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def end(self) -> None:
        """Show the calls that have begun without a permission note."""
        for call in self._calls.values():
            self._show(call)
        self.waiting.clear()

    def _finish(self, block: Json) -> None:
        """Note a finished content block."""
        match block.get("type"):
            case "text" if block["text"]:
                self._add("agent.message", content=[{"type": "text", "text": block["text"]}])
            case "thinking" | "redacted_thinking":
                self._add("agent.thinking")
            case "tool_use_sdk":
                call = self._call(block["id"])
                call.use = block
                if call.custom is not None:
                    self._advance_custom(call)
                elif call.note is not None:
                    self._advance(call)
            case "tool_result_sdk":
                call = self._call(block["tool_use_id"])
                if call.custom is not None:
                    return  # the client's own result is in the log
                self._show(call)
                self._add(
                    "agent.tool_result",
                    tool_use_id=call.event_id,
                    content=result_content(block.get("content")),
                    is_error=bool(block.get("is_error")),
                )

    def _note(self, note: PermissionNote) -> None:
        call = self._call(note.tool_use_id)
        call.note = note
        # The hook asks as soon as the call is read; its block may come a moment later.
        if call.use is not None:
            self._advance(call)

    def _note_custom(self, note: CustomCallNote) -> None:
        call = self._call(note.tool_use_id)
        call.custom = note
        # The program may call before its block is whole here.
        if call.use is not None:
            self._advance_custom(call)

    def _advance_custom(self, call: NarratedCall) -> None:
        """Show a custom tool's call, and whether it waits for the client's result."""
        assert call.use is not None
        assert call.custom is not None
        if not call.is_shown:
            call.is_shown = True
            self._events.append(
                {"id": call.event_id, "input": call.use["input"], "name": agent_name(call.use)}
                | {"processed_at": time_now(), "type": "agent.custom_tool_use"}
            )
        if call.custom.state == "waiting":
            self.waiting[call.event_id] = {
                "tool_use_id": call.custom.tool_use_id,
                "worker": call.custom.worker,
            }
            self._add_status()
        elif self.waiting.pop(call.event_id, None):
            self._events.append(error_event("unknown_error", call.custom.message, RETRYING))
            self._add_status()

    def _advance(self, call: NarratedCall) -> None:
        """Show the call, and the state of the call's permission."""
        assert call.note is not None
        note = call.note
        self._show(call)
        if note.state == "waiting":
            # A permission service that took the place of another one announces the wait again.
            if call.event_id not in self.waiting:
                self.waiting[call.event_id] = {"request_id": note.request_id}
                self._add_status()
        elif self.waiting.pop(call.event_id, None):
            if call.event_id not in self._confirmed:
                self._add_confirmation(call.event_id, note)
            self._add_status()

    def _add_confirmation(self, event_id: str, note: PermissionNote) -> None:
        """Add the answer of a person elsewhere, in the form of a client's confirmation."""
        denied = note.state == "denied"
        self._add(
            "user.tool_confirmation",
            tool_use_id=event_id,
            result="deny" if denied else "allow",
            **({"deny_message": note.message} if denied and note.message else {}),
        )

    def _add_status(self) -> None:
        """Add the session's status: idle while a confirmation or a result is awaited, else
        running.
        """
        waiting = list(self.waiting)
        status = requires_action(waiting) if waiting else new_event("session.status_running")
        self._events.append(status)

    def _show(self, call: NarratedCall) -> None:
        if call.is_shown or call.use is None:
            return
        call.is_shown = True
        name = call.use["name"]
        decided = evaluated(self._policies.get(name, "always_allow"), call.note)
        self._events.append(
            {"id": call.event_id, "input": call.use["input"], "name": agent_name(call.use)}
            | {"processed_at": time_now(), "type": "agent.tool_use", **decided}
        )

    def _call(self, tool_use_id: str) -> NarratedCall:
        return self._calls.setdefault(tool_use_id, NarratedCall(new_id("sevt")))

    def _add(self, kind: str, **fields: Any) -> None:
        self._events.append(new_event(kind, **fields))


def new_event(kind: str, **fields: Any) -> Json:
    """Return a new event of this moment."""
    return {"id": new_id("sevt"), "processed_at": time_now(), "type": kind, **fields}


def agent_name(use: Json) -> str:
    """Return the name of the tool of a call, as the agent's definition spells it."""
    name: str = use["name"]
    return AGENT_NAMES.get(name, name.removeprefix(CUSTOM_TOOLS_PREFIX))


def error_event(kind: str, message: str, retry_status: Json) -> Json:
    """Return the event of an error. RETRYING: the turn goes on; EXHAUSTED: it is over."""
    error = {"type": kind, "message": message, "retry_status": retry_status}
    return new_event("session.error", error=error)


def requires_action(event_ids: list[str]) -> Json:
    """Return the event of a session waiting for confirmations or results."""
    reason = {"type": "requires_action", "event_ids": event_ids}
    return new_event("session.status_idle", stop_reason=reason, stop_details=None)


def evaluated(policy: str, note: PermissionNote | None) -> Json:
    """Return an event's fields on the permission: the outcome, and the policy behind the outcome.

    An outcome that is not the policy's own comes from the owner's rules, which the vendor's words
    call `auto`.
    """
    if note is None:
        return {}
    outcome = {"waiting": "ask", "allowed": "allow", "denied": "deny"}[note.state]
    own = {"always_allow": "allow", "always_ask": "ask"}.get(policy)
    if outcome == own:
        return {"evaluated_permission": outcome, "evaluation": {"type": policy}}
    judged = {"type": outcome} | ({} if outcome == "allow" else {"reason_code": BY_OWNERS_RULES})
    return {
        "evaluated_permission": outcome,
        "evaluation": {"type": "auto", "evaluated_permission": judged},
    }


def result_content(content: Any) -> list[Json]:
    """Return a tool's result as content blocks of the vendor's types."""
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    return [result_block(block) for block in blocks]


def result_block(block: Any) -> Json:
    match block:
        case {"type": "text", "text": str(text)}:
            return {"type": "text", "text": without_middle(text)}
        case {"type": "image", "source": {"type": "base64", "data": data, "media_type": kind}}:
            source = {"type": "base64", "data": data, "media_type": kind}
            return {"type": "image", "source": source}
    return {"type": "text", "text": without_middle(dump_json(block).decode())}


def without_middle(text: str) -> str:
    """Return a text within the limit of an event; a note replaces the middle of a longer text."""
    if len(text) <= MOST_RESULT_CHARS:
        return text
    half = MOST_RESULT_CHARS // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[… {left_out:,} characters are left out …]\n{text[-half:]}"
