"""The messages of a Chat Completions request, as strict as OpenAI where a mistake would change what
is said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from shared.formats import ir
from shared.formats.fields import Object, field_error, invalid, missing, objects, one_of, wrong_type
from shared.formats.generated_images import image_call_of
from shared.formats.openai_parts import DETAILS, read_cache_mark, read_file_part, read_image
from shared.runtime.errors import ClientError

PART_KINDS = ("text", "image_url", "file")


class ChatConversation:
    """Messages in order. Results are gathered until every call of the turn is answered, then stand
    in call order.
    """

    def __init__(self) -> None:
        self.system: list[ir.Text] = []
        self.messages: list[ir.Message] = []
        self.dropped: list[str] = []
        self._calls: dict[str, ir.ToolCall] = {}
        self._results: dict[str, ir.ToolResult] = {}

    def read(self, message: Object) -> None:
        role = message.one_of("role", _READ_ROLE)
        if message.get("name") is not None:
            self.dropped.append("messages[].name")
        # Any other message ends the results of the calls before it.
        if role != "tool":
            self.end()
        _READ_ROLE[role](self, message)

    def end(self) -> None:
        """No result can follow here. Raises ClientError when a call went unanswered, as both
        vendors would.
        """
        if waiting := [name for name in self._calls if name not in self._results]:
            raise ClientError(
                "An assistant message with 'tool_calls' must be followed by tool messages "
                "responding to each 'tool_call_id'. The following tool_call_ids did not have "
                f"response messages: {', '.join(waiting)}",
                param="messages",
            )
        if self._results:
            self.messages.append(
                # In the order of the calls, whatever the order in which the client sent the
                # results.
                ir.Message("user", tuple(self._results[name] for name in self._calls))
            )
        self._calls = {}
        self._results = {}

    def _read_system(self, message: Object) -> None:
        texts = [
            part
            for part in self._content(message, ("text",))
            if isinstance(part, ir.Text) and part.text
        ]
        # Instructions at the beginning are the system's; later ones stay where they were said.
        if not self.messages:
            self.system += texts
        elif texts:
            self.messages.append(ir.Message("system", tuple(texts)))

    def _read_user(self, message: Object) -> None:
        self.messages.append(ir.Message("user", tuple(self._content(message, PART_KINDS))))

    def _read_assistant(self, message: Object) -> None:
        if message.get("audio") is not None:
            raise field_error(message.at("audio"), "earlier audio cannot be heard by the providers")
        if message.get("function_call") is not None:
            raise field_error(
                message.at("function_call"), "send 'tool_calls', which replaced 'function_call'"
            )
        parts: list[ir.Part] = []
        if reasoning := message.optional("reasoning_content", str):
            parts.append(ir.Thinking(reasoning))
        if message.get("content") is not None:
            said = self._content(message, ("text", "refusal"))
            parts += [part for part in said if not (isinstance(part, ir.Text) and not part.text)]
        parts += self._read_images(message)
        if refusal := message.optional("refusal", str):
            parts.append(ir.Refusal(refusal))
        self._calls = self._read_calls(message)
        parts += self._calls.values()
        if parts:
            self.messages.append(ir.Message("assistant", tuple(parts)))

    def _read_images(self, message: Object) -> list[ir.Part]:
        """Return the images made earlier by the model, as far as the message has them."""
        given = message.get("images")
        images = given if isinstance(given, list) else []
        urls = [image.get("image_url") for image in images if isinstance(image, dict)]
        found = [image_call_of(str(url.get("url"))) for url in urls if isinstance(url, dict)]
        calls: list[ir.Part] = [call for call in found if call is not None]
        if given and (images is not given or len(calls) != len(images)):
            self.dropped.append("messages[].images")
        return calls

    def _read_calls(self, message: Object) -> dict[str, ir.ToolCall]:
        calls: dict[str, ir.ToolCall] = {}
        for item in message.objects("tool_calls"):
            call = _read_call(item)
            if call.id in calls:
                raise invalid(call.id, item.at("id"), "Each call of a message needs its own id.")
            calls[call.id] = call
        return calls

    def _read_tool(self, message: Object) -> None:
        call = self._calls.get(id_ := message.text("tool_call_id"))
        if call is None or id_ in self._results:
            rule = "Expected a call of the preceding 'tool_calls' that has no result yet."
            raise invalid(id_, message.at("tool_call_id"), rule)
        self._answer(call, self._content(message, PART_KINDS))

    def _read_function(self, message: Object) -> None:
        raise field_error(message.at("role"), "send the role 'tool', which replaced 'function'")

    def _answer(self, call: ir.ToolCall, parts: list[ir.Part]) -> None:
        told = [part for part in parts if isinstance(part, (ir.Text, ir.Image, ir.Document))]
        said = tuple(part for part in told if not isinstance(part, ir.Text) or part.text)
        self._results[call.id] = ir.ToolResult(call.id, said, kind=call.kind)

    def _content(self, message: Object, kinds: tuple[str, ...]) -> list[ir.Part]:
        content = message.get("content")
        where = message.at("content")
        if content is None:
            raise missing(where)
        if isinstance(content, str):
            return [ir.Text(content)]
        if not isinstance(content, list):
            raise wrong_type(content, "a string or an array of objects", where)
        return [_read_part(part, kinds) for part in objects(content, where)]


_READ_ROLE: dict[str, Callable[[ChatConversation, Object], None]] = {
    "developer": ChatConversation._read_system,
    "system": ChatConversation._read_system,
    "user": ChatConversation._read_user,
    "assistant": ChatConversation._read_assistant,
    "tool": ChatConversation._read_tool,
    "function": ChatConversation._read_function,
}


def _read_call(call: Object) -> ir.ToolCall:
    kind = cast(
        "ir.CallKind",
        one_of(call.get("type") or "function", ("function", "custom"), call.at("type")),
    )
    called = call.object(kind)
    text = called.text("arguments" if kind == "function" else "input")
    return ir.ToolCall(call.text("id"), called.text("name"), text, kind)


def _read_part(part: Object, kinds: tuple[str, ...]) -> ir.Part:
    kind = part.text("type")
    if kind == "input_audio":
        raise field_error(part.path, "the providers do not take audio")
    match one_of(kind, kinds, part.at("type")):
        case "image_url":
            return _read_image(part)
        case "file":
            return _read_file(part)
        case "refusal":
            return ir.Refusal(part.text("refusal"))
    return ir.Text(part.text("text"), cache=read_cache_mark(part))


def _read_image(part: Object) -> ir.Image:
    image = part.object("image_url")
    detail = image.choice("detail", DETAILS)
    return read_image(
        image.text("url"), image.at("url"), detail=detail, cache=read_cache_mark(part)
    )


def _read_file(part: Object) -> ir.Document:
    file = part.object("file")
    if file.get("file_id") is not None:
        raise field_error(
            file.at("file_id"), "files kept by OpenAI cannot be reached from here; send 'file_data'"
        )
    return read_file_part(file, cache=read_cache_mark(part))
