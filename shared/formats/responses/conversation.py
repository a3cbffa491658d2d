"""The items of a Responses request as messages.

Items are flat, messages are not: what one speaker said in a row becomes one message, a tool's
output being the user's. What only OpenAI understands stays whole, as `Opaque`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from shared.formats import ir
from shared.formats.envelope import unwrap
from shared.formats.fields import Object, field_error, invalid, objects
from shared.formats.openai_parts import DETAILS, read_cache_mark, read_file_part, read_image
from shared.formats.responses.local_shell import LOCAL_SHELL


class ResponsesConversation:
    """Turns items into messages: consecutive items of a speaker become a single message. `system`
    holds the instructions of the prompt itself.
    """

    def __init__(self) -> None:
        self.system: list[ir.Text] = []
        self._turns: list[tuple[ir.Role, list[ir.Part]]] = []

    def read(self, item: Object) -> None:
        """Add `item`. Raises ClientError naming the misfit field."""
        match item.get("type") or "message":
            case "message":
                self._read_message(item)
            case "function_call" | "custom_tool_call" | "local_shell_call" as kind:
                self._say("assistant", [_call(item, kind)])
            case (
                "function_call_output" | "custom_tool_call_output" | "local_shell_call_output"
            ) as kind:
                self._say("user", [_result(item, kind)])
            case "reasoning":
                self._say("assistant", [_thinking(item)])
            case "item_reference" | "compaction_trigger" as kind:
                raise field_error(
                    item.path, f"an item of type {kind} needs state that only OpenAI keeps"
                )
            case _:
                self._say("assistant", [ir.Opaque("openai", item.value)])

    def messages(self) -> tuple[ir.Message, ...]:
        return tuple(ir.Message(role, tuple(parts)) for role, parts in self._turns)

    def _read_message(self, item: Object) -> None:
        role = item.one_of("role", ("user", "assistant", "system", "developer"))
        parts = _content(item.get("content"), item.at("content"), item.optional("phase", str))
        if role in {"user", "assistant"}:
            self._say(cast("ir.Role", role), parts)
            return
        if foreign := [part for part in parts if not isinstance(part, ir.Text)]:
            kind = type(foreign[0]).__name__
            raise field_error(item.at("content"), f"a {role} message holds text only, no {kind}")
        self._instruct([part for part in parts if isinstance(part, ir.Text)])

    def _say(self, role: ir.Role, parts: Iterable[ir.Part]) -> None:
        if not self._turns or self._turns[-1][0] != role:
            self._turns.append((role, []))
        self._turns[-1][1].extend(parts)

    def _instruct(self, texts: list[ir.Text]) -> None:
        """Add instructions. Before the first turn instructions belong to the prompt itself; later
        instructions keep their place.
        """
        if self._turns:
            self._say("system", texts)
        else:
            self.system += texts


def _content(content: Any, path: str, phase: str | None = None) -> list[ir.Part]:
    if isinstance(content, str):
        return [ir.Text(content, phase=phase)]
    return [_part(part, phase) for part in objects(content, path)]


def _part(part: Object, phase: str | None) -> ir.Text | ir.Image | ir.Document | ir.Refusal:
    match part.text("type"):
        case "input_text" | "output_text" | "text":
            return ir.Text(part.text("text"), cache=read_cache_mark(part), phase=phase)
        case "input_image":
            return _image(part)
        case "input_file":
            return _file(part)
        case "refusal":
            return ir.Refusal(part.text("refusal"), phase=phase)
        case kind:
            raise field_error(
                part.path, f"no provider reached by translation takes content of type {kind}"
            )


def _image(part: Object) -> ir.Image:
    _refuse_several(part, "file_id", "image_url")
    detail = part.choice("detail", DETAILS)
    cache = read_cache_mark(part)
    if file_id := part.optional("file_id", str):
        return ir.Image(file_id=file_id, detail=detail, cache=cache)
    return read_image(part.text("image_url"), part.at("image_url"), detail=detail, cache=cache)


def _file(part: Object) -> ir.Document:
    _refuse_several(part, "file_data", "file_id", "file_url")
    name = part.optional("filename", str) or ""
    cache = read_cache_mark(part)
    if url := part.optional("file_url", str):
        return ir.Document(url=url, name=name, cache=cache)
    if file_id := part.optional("file_id", str):
        return ir.Document(file_id=file_id, name=name, cache=cache)
    return read_file_part(part, cache=cache)


def _refuse_several(part: Object, *names: str) -> None:
    """Raise ClientError for a part with several sources of content: no rule defines the source that
    counts.
    """
    given = [name for name in names if part.get(name)]
    if len(given) > 1:
        raise invalid(given, part.path, "Send only one of these.")


_CALL_KINDS: dict[str, ir.CallKind] = {
    "function_call": "function",
    "custom_tool_call": "custom",
    "local_shell_call": "local_shell",
}


def _call(item: Object, kind: str) -> ir.ToolCall:
    call_id = item.text("call_id")
    if kind == "local_shell_call":
        action = {
            name: value for name, value in item.required("action", dict).items() if name != "type"
        }
        return ir.ToolCall(
            call_id, LOCAL_SHELL.name, json.dumps(action, ensure_ascii=False), "local_shell"
        )
    name = item.text("name")
    namespace = item.optional("namespace", str) or ""
    arguments = item.text("input" if kind == "custom_tool_call" else "arguments")
    return ir.ToolCall(call_id, name, arguments, _CALL_KINDS[kind], namespace)


def _result(item: Object, kind: str) -> ir.ToolResult:
    """A local shell's output names its call by `id` in the public interface, by
    `call_id` in Codex.
    """
    is_shell = kind == "local_shell_call_output" and "call_id" not in item.value
    call_id = item.text("id" if is_shell else "call_id")
    output = _content(item.get("output"), item.at("output"))
    parts = tuple(part for part in output if isinstance(part, ir.Text | ir.Image | ir.Document))
    return ir.ToolResult(call_id, parts, kind=_CALL_KINDS[kind.removesuffix("_output")])


def _thinking(item: Object) -> ir.Thinking:
    sealed = item.optional("encrypted_content", str) or ""
    # Reasoning of another vendor comes back in our envelope, whole, with its own seal.
    if foreign := unwrap(sealed):
        return foreign
    text = "\n\n".join(part.optional("text", str) or "" for part in item.objects("summary"))
    return (
        ir.Thinking(text, sealed, "openai", item.optional("id", str) or "")
        if sealed
        else ir.Thinking(text)
    )
