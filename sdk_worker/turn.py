"""A Messages request as the lines a fresh `claude` is fed, with the options its process needs.
Pure.

Nothing is flattened: every message becomes the turn it was, so the model sees the conversation the
client wrote. What the program has no way to carry is named in `ignored`, or refused when leaving it
out would change the answer's meaning.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sdk_worker.claude.launch import Binding, Launch
from sdk_worker.client_tools import program_name
from shared.formats.fields import inner_object
from shared.formats.messages.request_in import refuse_part
from shared.runtime.errors import ClientError

Block = dict[str, Any]
Line = dict[str, Any]

CARRIED = frozenset(
    {"model", "messages", "system", "max_tokens", "stream", "thinking", "tools", "tool_choice"}
)
LISTED = frozenset({"type", "name", "description", "input_schema", "eager_input_streaming"})
SPOKEN = frozenset({"type", "text"})
PLAIN = re.compile(r"[\w.-]{1,64}", re.ASCII)  # a type that may stand in a header
ROLES = ("user", "assistant", "system")
# Shown about a run, never part of the conversation.
SHOWN_BY_US = frozenset({"system_message", "result_message"})


@dataclass(slots=True)
class Feed:
    """A request, ready for a process: `history`, then `prompt`, the single line that starts the
    model.
    """

    launch: Launch
    binding: Binding
    history: list[Line]
    prompt: Line
    ignored: list[str] = field(default_factory=list)

    def news(self) -> Feed:
        """Return the feed for a conversation that heard the history: only the prompt, to follow the
        last answer.
        """
        return replace(self, history=[])


def read_turn(body: dict[str, Any], *, working_directory: str | None = None) -> Feed:
    """Return the request as a Feed. Raises ClientError naming the field that cannot be carried."""
    refuse_part(body)
    ignored = sorted(
        name
        for name in body
        if name not in CARRIED and not (name == "metadata" and _is_ours(body[name]))
    )
    tools = _read_tools(body)
    messages, marked = _read_messages(body.get("messages"), renamed=bool(tools))
    if marked:
        ignored.append("cache_control")
    ignored += [name for name in unread_of(body, tools) if name not in ignored]
    ignored += hosted_names(body.get("tools") or [])
    lines: list[Line] = [
        {"type": role, "message": {"role": role, "content": content}} for role, content in messages
    ]
    if lines[-1]["type"] != "user":
        raise ClientError(
            "messages: the last one must be from the user; /sdk cannot continue an answer."
        )
    *history, prompt = lines
    # The program would answer every user's line. Only the prompt asks for an answer.
    for line in history:
        if line["type"] == "user":
            line["shouldQuery"] = False
    binding = Binding(
        system=_read_system(body.get("system")),
        model=_optional(body, "model", str),
        max_tokens=_positive(body, "max_tokens"),
        thinking=_read_thinking(body.get("thinking")),
        tools=sorted_json(tools) if tools else b"",
    )
    return Feed(Launch(working_directory, own_tools=not tools), binding, history, prompt, ignored)


def unread_of(body: dict[str, Any], tools: list[Block]) -> list[str]:
    """Return the paths of the parts inside carried fields without a place in the program."""
    given = body["system"] if isinstance(body.get("system"), list) else []
    system = [block for block in given if isinstance(block, dict)]  # the others are refused
    thinking = inner_object(body, "thinking")
    choice = inner_object(body, "tool_choice")
    found = {
        f"tools[].{name}": value
        for tool in tools
        for name, value in tool.items()
        if name not in LISTED and value
    }
    said = {name: value for block in system for name, value in block.items() if name not in SPOKEN}
    found |= {
        name if name == "cache_control" else f"system[].{name}": value
        for name, value in said.items()
    }
    found |= {"thinking.display": thinking.get("display")}
    found |= {"tool_choice.disable_parallel_tool_use": choice.get("disable_parallel_tool_use")}
    return [name for name, value in found.items() if value]


def sorted_json(tools: list[Block]) -> bytes:
    """Return the tools as JSON that is equal for equal tools, with every digit and every half
    character kept.
    """
    return json.dumps(tools, sort_keys=True).encode()


def _is_ours(metadata: Any) -> bool:
    """Return True for the metadata that the gateway has already read: conversation and working
    directory.
    """
    return isinstance(metadata, dict) and metadata.keys() <= {"session_id", "cwd"}


def _optional(body: dict[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise ClientError(f"{name}: expected {kind.__name__}.")
    return value


def _positive(body: dict[str, Any], name: str) -> int | None:
    value: int | None = _optional(body, name, int)
    if value is not None and value < 1:
        raise ClientError(f"{name}: must be at least 1.")
    return value


def _read_system(system: Any) -> tuple[str, ...]:
    if system is None or isinstance(system, str):
        return (system,) if system else ()
    if not isinstance(system, list) or not all(
        isinstance(block, dict) and "text" in block for block in system
    ):
        raise ClientError("system: expected a text or a list of text blocks.")
    return tuple(str(block["text"]) for block in system if block["text"])


def _read_thinking(thinking: Any) -> int | Literal["adaptive"] | None:
    match thinking:
        case None | {"type": "adaptive"}:
            return "adaptive" if thinking else None
        case {"type": "disabled"}:
            return 0
        case {"type": "enabled", "budget_tokens": int(tokens)}:
            return tokens
    raise ClientError("thinking: expected enabled with budget_tokens, adaptive or disabled.")


def _read_tools(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the client's own tools, without the tools of the provider's servers. Refuses a forced
    choice.
    """
    tools = body.get("tools") or []
    choice = body.get("tool_choice") or {"type": "auto"}
    if not isinstance(tools, list):
        raise ClientError("tools: expected a list.")
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise ClientError(f"tools.{index}: expected an object.")
        if is_hosted(tool):
            continue
        if not isinstance(tool.get("name"), str) or not isinstance(tool.get("input_schema"), dict):
            raise ClientError(f"tools.{index}: a tool needs a name and an input_schema.")
    match choice:
        case {"type": "none"}:
            return []
        case {"type": "auto"}:
            return [tool for tool in tools if not is_hosted(tool)]
    raise ClientError(
        "tool_choice: /sdk cannot force a tool; use auto or none, or send the request to /api."
    )


def is_hosted(tool: Block) -> bool:
    """Return True if the provider's servers would run the tool: the program leaves such a tool out,
    and the reply names it.
    """
    return (tool.get("type") or "custom") != "custom"


def hosted_names(tools: list[Block]) -> list[str]:
    """Return the field paths that name the hosted tools among `tools` by type."""
    types = [str(tool["type"]) for tool in tools if is_hosted(tool)]
    return sorted({f"tools[].{kind}" if PLAIN.fullmatch(kind) else "tools" for kind in types})


def _read_messages(messages: Any, *, renamed: bool) -> tuple[list[tuple[str, list[Block]]], bool]:
    """Roles in turn, and whether a cache mark was dropped: the program places its own, and four are
    allowed.
    """
    if not isinstance(messages, list) or not messages:
        raise ClientError("messages: at least one message is needed.")
    turns: list[tuple[str, list[Block]]] = []
    marked = 0
    for index, message in enumerate(messages):
        blocks = _read_content(message, index)
        marked += sum(block.pop("cache_control", None) is not None for block in blocks)
        for role, content in _as_turns(message["role"], blocks):
            if renamed:
                content = [_renamed(block) for block in content]
            # Neighbouring turns of one role are one turn to the provider.
            if turns and turns[-1][0] == role:
                turns[-1][1].extend(content)
            elif content:
                turns.append((role, content))
    if not turns:
        raise ClientError("messages: nothing is said in them.")
    return turns, marked > 0


def _read_content(message: Any, index: int) -> list[Block]:
    where = f"messages.{index}"
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise ClientError(f"{where}.role: expected user, assistant or system.")
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(
        isinstance(block, dict) and isinstance(block.get("type"), str) for block in content
    ):
        raise ClientError(f"{where}.content: expected a text or a list of content blocks.")
    return [dict(block) for block in content]


def _as_turns(role: str, blocks: list[Block]) -> list[tuple[str, list[Block]]]:
    """Return a message as turns of the program. An agent run shown as a single message becomes
    several turns again.
    """
    if role == "system":
        text = "\n".join(str(block.get("text", "")) for block in blocks)
        return [
            ("user", [{"type": "text", "text": f"<system-reminder>\n{text}\n</system-reminder>"}])
        ]
    turns: list[tuple[str, list[Block]]] = [(role, [])]
    for block in blocks:
        kind = block["type"]
        if kind in SHOWN_BY_US or (kind == "text" and not block.get("text")):
            continue
        speaker = "user" if kind == "tool_result_sdk" else role
        if turns[-1][0] != speaker:
            turns.append((speaker, []))
        turns[-1][1].append(_as_spoken(block))
    return turns


def _as_spoken(block: Block) -> Block:
    if block["type"] not in {"tool_use_sdk", "tool_result_sdk"}:
        return block
    return {name: value for name, value in block.items() if name != "source"} | {
        "type": block["type"][: -len("_sdk")]
    }


def _renamed(block: Block) -> Block:
    if block["type"] != "tool_use":
        return block
    name = block.get("name")
    if not isinstance(name, str):
        raise ClientError("messages: a tool_use block needs the name of its tool.")
    return block | {"name": program_name(name)}
