"""The messages of a Chat Completions request, as strict as OpenAI where a mistake would change what is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from shared.errors import ClientError
from shared.formats import ir
from shared.formats.fields import (
    invalid,
    join,
    missing,
    objects,
    one_of,
    optional,
    optional_choice,
    optional_objects,
    refused,
    required,
    wrong_type,
)
from shared.formats.ir import Json
from shared.formats.openai_parts import DETAILS, read_cache_mark, read_file, read_image

PART_KINDS = ("text", "image_url", "file")


class Conversation:
    """Messages in order. Results are gathered until every call of the turn is answered, then stand in call order."""

    def __init__(self) -> None:
        self.system: list[ir.Text] = []
        self.messages: list[ir.Message] = []
        self.dropped: list[str] = []
        self._calls: dict[str, ir.ToolCall] = {}
        self._results: dict[str, ir.ToolResult] = {}

    def read(self, message: Json, path: str) -> None:
        role = one_of(required(message, "role", str, path), _READ_ROLE, join(path, "role"))
        if role != "function" and message.get("name") is not None:
            self.dropped.append("messages[].name")
        if role not in ("tool", "function"):
            self.end()
        _READ_ROLE[role](self, message, path)

    def end(self) -> None:
        """No result can follow here. Raises ClientError when a call went unanswered, as both vendors would."""
        if waiting := [name for name in self._calls if name not in self._results]:
            raise ClientError(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(waiting)}",
                param="messages",
            )
        if self._results:
            self.messages.append(ir.Message("user", tuple(self._results[name] for name in self._calls)))
        self._calls, self._results = {}, {}

    def _read_system(self, message: Json, path: str) -> None:
        texts = [part for part in self._content(message, path, ("text",)) if isinstance(part, ir.Text) and part.text]
        if not self.messages:
            self.system += texts
        elif texts:
            self.messages.append(ir.Message("system", tuple(texts)))

    def _read_user(self, message: Json, path: str) -> None:
        self.messages.append(ir.Message("user", tuple(self._content(message, path, PART_KINDS))))

    def _read_assistant(self, message: Json, path: str) -> None:
        if message.get("audio") is not None:
            raise refused(join(path, "audio"), "earlier audio cannot be heard by the providers")
        parts: list[ir.Part] = []
        if reasoning := optional(message, "reasoning_content", str, path):
            parts.append(ir.Thinking(reasoning))
        if message.get("content") is not None:
            said = self._content(message, path, ("text", "refusal"))
            parts += [part for part in said if not (isinstance(part, ir.Text) and not part.text)]
        if refusal := optional(message, "refusal", str, path):
            parts.append(ir.Refusal(refusal))
        self._calls = self._read_calls(message, path)
        parts += self._calls.values()
        if parts:
            self.messages.append(ir.Message("assistant", tuple(parts)))

    def _read_calls(self, message: Json, path: str) -> dict[str, ir.ToolCall]:
        calls: dict[str, ir.ToolCall] = {}
        for item, where in optional_objects(message, "tool_calls", path):
            call = _read_call(item, where)
            if call.id in calls:
                raise invalid(call.id, join(where, "id"), "Each call of a message needs its own id.")
            calls[call.id] = call
        if legacy := optional(message, "function_call", dict, path):
            where = join(path, "function_call")
            # Old calls have no id; their place in the conversation is one that stays the same in every later request.
            id_ = f"call_{len(self.messages)}"
            name, arguments = required(legacy, "name", str, where), required(legacy, "arguments", str, where)
            calls[id_] = ir.ToolCall(id_, name, arguments)
        return calls

    def _read_tool(self, message: Json, path: str) -> None:
        call = self._calls.get(id_ := required(message, "tool_call_id", str, path))
        if call is None or id_ in self._results:
            raise invalid(
                id_, join(path, "tool_call_id"), "Expected a call of the preceding 'tool_calls' that has no result yet."
            )
        self._answer(call, self._content(message, path, ("text",)))

    def _read_function(self, message: Json, path: str) -> None:
        name = required(message, "name", str, path)
        call = next((call for call in self._calls.values() if call.name == name), None)
        if call is None or call.id in self._results:
            raise invalid(name, join(path, "name"), "Expected the function of the preceding 'function_call'.")
        content = message.get("content")
        self._answer(call, [ir.Text(content)] if isinstance(content, str) else [])

    def _answer(self, call: ir.ToolCall, parts: list[ir.Part]) -> None:
        texts = tuple(part for part in parts if isinstance(part, ir.Text) and part.text)
        self._results[call.id] = ir.ToolResult(call.id, texts, kind=call.kind)

    def _content(self, message: Json, path: str, kinds: tuple[str, ...]) -> list[ir.Part]:
        where = join(path, "content")
        content = message.get("content")
        if content is None:
            raise missing(where)
        if isinstance(content, str):
            return [ir.Text(content)]
        if not isinstance(content, list):
            raise wrong_type(content, "a string or an array of objects", where)
        return [self._part(part, part_path, kinds) for part, part_path in objects(content, where)]

    def _part(self, part: Json, path: str, kinds: tuple[str, ...]) -> ir.Part:
        kind = required(part, "type", str, path)
        if kind == "input_audio":
            raise refused(path, "the providers do not take audio")
        return _READ_PART[one_of(kind, kinds, join(path, "type"))](part, path)


_READ_ROLE: dict[str, Callable[[Conversation, Json, str], None]] = {
    "developer": Conversation._read_system,
    "system": Conversation._read_system,
    "user": Conversation._read_user,
    "assistant": Conversation._read_assistant,
    "tool": Conversation._read_tool,
    "function": Conversation._read_function,
}


def _read_call(call: Json, path: str) -> ir.ToolCall:
    kind = cast("ir.CallKind", one_of(call.get("type") or "function", ("function", "custom"), join(path, "type")))
    called, where = required(call, kind, dict, path), join(path, kind)
    text = required(called, "arguments" if kind == "function" else "input", str, where)
    return ir.ToolCall(required(call, "id", str, path), required(called, "name", str, where), text, kind)


def _read_text(part: Json, path: str) -> ir.Part:
    return ir.Text(required(part, "text", str, path), cache=read_cache_mark(part, path))


def _read_image(part: Json, path: str) -> ir.Part:
    image, where = required(part, "image_url", dict, path), join(path, "image_url")
    detail = optional_choice(image, "detail", DETAILS, where)
    return read_image(
        required(image, "url", str, where), join(where, "url"), detail=detail, cache=read_cache_mark(part, path)
    )


def _read_file(part: Json, path: str) -> ir.Part:
    file, where = required(part, "file", dict, path), join(path, "file")
    if file.get("file_id") is not None:
        raise refused(join(where, "file_id"), "files kept by OpenAI cannot be reached from here; send 'file_data'")
    data = required(file, "file_data", str, where)
    name = optional(file, "filename", str, where) or ""
    return read_file(data, name, join(where, "file_data"), cache=read_cache_mark(part, path))


def _read_refusal(part: Json, path: str) -> ir.Part:
    return ir.Refusal(required(part, "refusal", str, path))


_READ_PART: dict[str, Callable[[Json, str], ir.Part]] = {
    "text": _read_text,
    "image_url": _read_image,
    "file": _read_file,
    "refusal": _read_refusal,
}
