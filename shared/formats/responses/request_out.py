"""A Prompt as a Responses request, for the ChatGPT backend that serves Codex or for the public
interface.

Always streamed and never stored, so encrypted reasoning is always asked for. The same prompt gives
the same body, and a longer conversation begins with those of the shorter one: prompt caches hang on
it. This module writes the conversation and the request around it; `tools_out` and `settings_out`
write the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.formats import ir
from shared.formats.fields import drop_empty
from shared.formats.ir import Json
from shared.formats.responses.local_shell import shell_action
from shared.formats.responses.names import openai_name, short_name
from shared.formats.responses.request_in import ENCRYPTED_REASONING, SEARCH_SOURCES
from shared.formats.responses.settings_out import (
    write_reasoning,
    write_service_tier,
    write_settings,
    write_text,
)
from shared.formats.responses.target import CODEX, Dialect, ResponsesTarget
from shared.formats.responses.tools_out import write_tool_choice, write_tools
from shared.formats.written import Capabilities, Written
from shared.runtime.errors import ClientError

DEFAULT_INSTRUCTIONS = "You are a helpful assistant."
"""The ChatGPT backend refuses a request without any instructions."""


def write_prompt(
    prompt: ir.Prompt, capabilities: Capabilities, dialect: Dialect = CODEX
) -> Written:
    """Return `prompt` as a Responses request, always for a stream. Raises ClientError for content
    without a place in this format.
    """
    return _Writing(ResponsesTarget(prompt, capabilities, dialect)).write()


class _Writing:
    def __init__(self, target: ResponsesTarget) -> None:
        self._target = target
        parts = [part for message in target.prompt.messages for part in message.parts]
        # Results name only their call, and the call's kind decides the kind of the result's item.
        self._kinds = {part.id: part.kind for part in parts if isinstance(part, ir.ToolCall)}

    def write(self) -> Written:
        target = self._target
        prompt = target.prompt
        client = "\n\n".join(text.text for text in prompt.system)
        instructions, moved = target.dialect.instruct(client)
        tools = list(write_tools(target))
        searches = any(isinstance(tool, ir.WebSearch) for tool in prompt.tools)
        written: Json = {
            "model": prompt.model,
            "instructions": instructions
            or (DEFAULT_INSTRUCTIONS if target.dialect.codex else None),
            "input": [
                *([_message("developer", [_input_text(moved)])] if moved else []),
                *(item for message in prompt.messages for item in self._items(message)),
                *self._turn_without_messages(client if not moved else ""),
            ],
            "tools": tools,
            "tool_choice": write_tool_choice(target) if tools else None,
            "parallel_tool_calls": prompt.parallel_tools is not False if tools else None,
            "reasoning": write_reasoning(target),
            "text": write_text(target),
            "service_tier": write_service_tier(target),
            "prompt_cache_key": prompt.cache_key,
            "include": [ENCRYPTED_REASONING, *([SEARCH_SOURCES] if searches else [])],
            "store": False,
            "stream": True,
            **write_settings(target),
        }
        if prompt.messages and not written["input"]:
            raise ClientError("Nothing is said in the messages.", param="messages")
        if not tools and prompt.tool_choice and prompt.tool_choice.mode in {"required", "named"}:
            raise ClientError("tool_choice: there is no tool to choose.", param="tool_choice")
        body = {
            name: value
            for name, value in written.items()
            if value not in (None, [], {}) or name == "input"
        }
        return Written(body, target.dropped)

    def _turn_without_messages(self, client: str) -> Iterator[Json]:
        """The instructions as the user's turn as well, when nobody said anything else: an input
        cannot be empty.
        """
        if client and not self._target.prompt.messages:
            yield _message("user", [_input_text(client)])

    def _items(self, message: ir.Message) -> Iterator[Json]:
        """Content parts in a row share a message item; everything else is an item of its own."""
        role = "developer" if message.role == "system" else message.role
        content: list[Json] = []
        phase: str | None = None
        for part in message.parts:
            item = self._item(part)
            # An item of its own, or words of another phase, end the message before it: the order
            # of the parts is kept.
            if content and (
                item or (isinstance(part, ir.Text | ir.Refusal) and part.phase != phase)
            ):
                yield _message(role, content, phase)
                content = []
            if item:
                yield item
            elif written := self._content(part, role):
                content.append(written)
                phase = part.phase if isinstance(part, ir.Text | ir.Refusal) else phase
        if content:
            yield _message(role, content, phase)

    def _item(self, part: ir.Part) -> Json | None:
        match part:
            case ir.ToolCall():
                return self._call(part)
            case ir.ToolResult():
                kind = self._kinds.get(part.call_id, part.kind)
                output = self._output(part)
                return {
                    "type": _OUTPUTS[kind],
                    "call_id": short_name(part.call_id),
                    "output": output,
                }
            case ir.Thinking(vendor="openai", signature=sealed, text=text, id=id_) if sealed:
                summary = [{"type": "summary_text", "text": text}] if text else []
                return {
                    "type": "reasoning",
                    "summary": summary,
                    "encrypted_content": sealed,
                    **drop_empty(id=id_),
                }
            case ir.Thinking():
                self._target.drop("reasoning")
            case ir.Opaque(vendor="openai", data=data):
                return data
            case ir.Opaque(data=data):
                self._target.drop_inside("messages", [str(data.get("type"))])
        return None

    def _call(self, call: ir.ToolCall) -> Json:
        item: Json = {"type": _CALLS[call.kind], "call_id": short_name(call.id)}
        if call.kind == "local_shell":
            return item | {"action": shell_action(call.arguments), "status": "completed"}
        item |= {"name": openai_name(call.name), **drop_empty(namespace=call.namespace)}
        return item | (
            {"input": call.arguments}
            if call.kind == "custom"
            else {"arguments": call.arguments or "{}"}
        )

    def _output(self, result: ir.ToolResult) -> str | list[Json]:
        parts = [written for part in result.parts if (written := self._content(part, "user"))]
        if all(part["type"] == "input_text" for part in parts):
            text = "\n".join(part["text"] for part in parts)
            return f"Error: {text}" if result.is_error else text
        return [_input_text("Error:"), *parts] if result.is_error else parts

    def _content(self, part: ir.Part, role: str) -> Json | None:
        match part:
            case ir.Text(text=text):
                return (
                    {"type": "output_text", "text": text}
                    if role == "assistant"
                    else _input_text(text)
                )
            case ir.Refusal(text=text):
                return {"type": "refusal", "refusal": text}
            case ir.Image():
                _refuse_foreign_file(part.file_id)
                return _image(part)
            case ir.Document():
                return self._document(part)
        return None

    def _document(self, document: ir.Document) -> Json:
        """Plain text is put into the conversation as such: not every model opens text files."""
        _refuse_foreign_file(document.file_id)
        if document.citations:
            self._target.drop("messages.citations")
        if not (document.url or document.data):
            heading = [line for line in (document.name, document.context) if line]
            return _input_text("\n\n".join([*heading, document.text]))
        if document.context:
            self._target.drop("messages.context")
        if document.url:
            return {
                "type": "input_file",
                "file_url": document.url,
                **drop_empty(filename=document.name),
            }
        data = f"data:{document.media_type};base64,{document.data}"
        return {
            "type": "input_file",
            "filename": document.name or "document.pdf",
            "file_data": data,
        }


_CALLS = {
    "function": "function_call",
    "custom": "custom_tool_call",
    "local_shell": "local_shell_call",
}
_OUTPUTS = {kind: f"{call}_output" for kind, call in _CALLS.items()}


def _message(role: str, content: list[Json], phase: str | None = None) -> Json:
    return {"type": "message", "role": role, "content": content, **drop_empty(phase=phase)}


def _input_text(text: str) -> Json:
    return {"type": "input_text", "text": text}


def _image(image: ir.Image) -> Json:
    url = image.url or f"data:{image.media_type};base64,{image.data}"
    return {"type": "input_image"} | drop_empty(image_url=url, detail=image.detail)


def _refuse_foreign_file(file_id: str) -> None:
    """Raise ClientError for a file of another provider, because OpenAI cannot open such a file."""
    if file_id:
        raise ClientError(
            f"The file id {file_id!r} belongs to another provider; send the content.",
            param="messages",
        )
