"""A Prompt as a Responses request, for the ChatGPT backend that serves Codex or for the public
interface.

Always streamed and never stored, so encrypted reasoning is always asked for. The same prompt gives
the same body, and a longer conversation begins with those of the shorter one: prompt caches hang on
it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal

from shared.formats import ir
from shared.formats.efforts import effort_of_budget, nearest_effort
from shared.formats.fields import drop_empty
from shared.formats.ir import Json
from shared.formats.responses.request_in import ENCRYPTED_REASONING, SEARCH_SOURCES, shell_action
from shared.formats.schemas import for_openai
from shared.formats.strict_schemas import qualifies_for_openai
from shared.runtime.errors import ClientError

DEFAULT_INSTRUCTIONS = "You are a helpful assistant."
"""The ChatGPT backend refuses a request without any instructions."""
LONGEST_NAME = 64
_NAME = re.compile(r"[a-zA-Z0-9_-]+")
LEAST_OUTPUT = 16
"""The fewest `max_output_tokens` that the public interface takes."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The Responses service of a request, and the operator's instructions to every model.

    `codex` is the ChatGPT backend, which takes fewer fields. `instructions` are the operator's own:
    in mode "override" they take the client's place, which moves to the first developer message;
    "append" puts them after the client's; "disabled" leaves them out.
    """

    codex: bool = True
    mode: Literal["override", "append", "disabled"] = "disabled"
    instructions: str = ""

    def instruct(self, client: str) -> tuple[str, str]:
        """The `instructions` to send, and the client's own text where it has to move to a developer
        message.
        """
        if self.mode == "disabled" or not self.instructions:
            return client, ""
        if self.mode == "append":
            return f"{client}\n\n{self.instructions}".lstrip(), ""
        return self.instructions, client


CODEX = Dialect()


def write_prompt(
    prompt: ir.Prompt, capabilities: ir.Capabilities, dialect: Dialect = CODEX
) -> ir.Written:
    return _Writing(prompt, capabilities, dialect).write()


def short_name(name: str) -> str:
    """A name or id no longer than OpenAI takes: always the same one, and another for
    another name.
    """
    if len(name) <= LONGEST_NAME:
        return name
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{name[: LONGEST_NAME - len(digest) - 1]}_{digest}"


def openai_name(name: str) -> str:
    """Return a tool's name as allowed by OpenAI's pattern; a changed name stays distinct by a hash
    of the old name.
    """
    if _NAME.fullmatch(name):
        return short_name(name)
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^a-zA-Z0-9_-]', '_', name)[: LONGEST_NAME - len(digest) - 1]}_{digest}"


class _Writing:
    def __init__(self, prompt: ir.Prompt, capabilities: ir.Capabilities, dialect: Dialect) -> None:
        self.prompt = prompt
        self.model = capabilities
        self.dialect = dialect
        self.dropped = dict.fromkeys(prompt.dropped)
        parts = [part for message in prompt.messages for part in message.parts]
        # Results name only their call, and the call's kind decides the kind of the result's item.
        self.kinds = {part.id: part.kind for part in parts if isinstance(part, ir.ToolCall)}

    def write(self) -> ir.Written:
        prompt = self.prompt
        client = "\n\n".join(text.text for text in prompt.system)
        instructions, moved = self.dialect.instruct(client)
        tools = list(self.tools())
        searches = any(isinstance(tool, ir.WebSearch) for tool in prompt.tools)
        written: Json = {
            "model": prompt.model,
            "instructions": instructions or (DEFAULT_INSTRUCTIONS if self.dialect.codex else None),
            "input": [
                *([_message("developer", [_input_text(moved)])] if moved else []),
                *(item for message in prompt.messages for item in self.items(message)),
                *self.turn_without_messages(client if not moved else ""),
            ],
            "tools": tools,
            "tool_choice": self.tool_choice() if tools else None,
            "parallel_tool_calls": prompt.parallel_tools is not False if tools else None,
            "reasoning": self.reasoning(),
            "text": self.text(),
            "service_tier": self.service_tier(),
            "prompt_cache_key": prompt.cache_key,
            "include": [ENCRYPTED_REASONING, *([SEARCH_SOURCES] if searches else [])],
            "store": False,
            "stream": True,
            **self.settings(),
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
        return ir.Written(body, tuple(self.dropped))

    def drop(self, name: str) -> None:
        self.dropped[self.prompt.spell(name)] = None

    def drop_inside(self, name: str, paths: Iterable[str]) -> None:
        """Report the `paths` inside the field `name` as left out of the request."""
        self.dropped.update({self.prompt.spell(name, path): None for path in paths})

    # --- conversation ---

    def turn_without_messages(self, client: str) -> Iterator[Json]:
        """The instructions as the user's turn as well, when nobody said anything else: an input
        cannot be empty.
        """
        if client and not self.prompt.messages:
            yield _message("user", [_input_text(client)])

    def items(self, message: ir.Message) -> Iterator[Json]:
        """Content parts in a row share a message item; everything else is an item of its own."""
        role = "developer" if message.role == "system" else message.role
        content: list[Json] = []
        phase: str | None = None
        for part in message.parts:
            item = self.item(part)
            # An item of its own, or a text of another phase, ends the message before it: the order
            # of the parts is kept.
            if content and (item or (isinstance(part, ir.Text) and part.phase != phase)):
                yield _message(role, content, phase)
                content = []
            if item:
                yield item
            elif written := self.content(part, role):
                content.append(written)
                phase = part.phase if isinstance(part, ir.Text) else phase
        if content:
            yield _message(role, content, phase)

    def item(self, part: ir.Part) -> Json | None:
        match part:
            case ir.ToolCall():
                return self.call(part)
            case ir.ToolResult():
                kind = self.kinds.get(part.call_id, part.kind)
                output = self.output(part)
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
                self.drop("reasoning")
            case ir.Opaque(vendor="openai", data=data):
                return data
            case ir.Opaque(data=data):
                self.drop_inside("messages", [str(data.get("type"))])
        return None

    def call(self, call: ir.ToolCall) -> Json:
        item: Json = {"type": _CALLS[call.kind], "call_id": short_name(call.id)}
        if call.kind == "local_shell":
            return item | {"action": shell_action(call.arguments), "status": "completed"}
        item |= {"name": openai_name(call.name), **drop_empty(namespace=call.namespace)}
        return item | (
            {"input": call.arguments}
            if call.kind == "custom"
            else {"arguments": call.arguments or "{}"}
        )

    def output(self, result: ir.ToolResult) -> str | list[Json]:
        parts = [written for part in result.parts if (written := self.content(part, "user"))]
        if all(part["type"] == "input_text" for part in parts):
            text = "\n".join(part["text"] for part in parts)
            return f"Error: {text}" if result.is_error else text
        return [_input_text("Error:"), *parts] if result.is_error else parts

    def content(self, part: ir.Part, role: str) -> Json | None:
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
                return self.document(part)
        return None

    def document(self, document: ir.Document) -> Json:
        """Plain text is put into the conversation as such: not every model opens text files."""
        _refuse_foreign_file(document.file_id)
        if document.citations:
            self.drop("messages.citations")
        if not (document.url or document.data):
            heading = [line for line in (document.name, document.context) if line]
            return _input_text("\n\n".join([*heading, document.text]))
        if document.context:
            self.drop("messages.context")
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

    # --- tools ---

    def tools(self) -> Iterator[Json]:
        choice = self.prompt.tool_choice or ir.ToolChoice()
        namespaces: dict[str, list[Json]] = {}
        for tool in self.prompt.tools:
            if isinstance(tool, ir.Opaque):
                if tool.vendor == "openai":
                    yield tool.data
                else:
                    self.drop_inside("tools", [str(tool.data.get("type"))])
            elif isinstance(tool, ir.WebSearch):
                yield self.web_search(tool)
            elif choice.allowed is not None and tool.name not in choice.allowed:
                continue
            elif tool.namespace in namespaces:
                namespaces[tool.namespace].append(self.tool(tool))
            elif tool.namespace:
                # Yielded at its first tool and filled by the later ones: the list is the same
                # object.
                namespaces[tool.namespace] = [self.tool(tool)]
                yield {
                    "type": "namespace",
                    "name": tool.namespace,
                    "tools": namespaces[tool.namespace],
                }
            else:
                yield self.tool(tool)

    def tool(self, tool: ir.Tool) -> Json:
        """Return the tool, always with `strict`: OpenAI's default is true, and most schemas do not
        survive strictness.
        """
        if tool.kind == "local_shell":
            return {"type": "local_shell"}
        written: Json = {
            "type": tool.kind,
            "name": openai_name(tool.name),
            **drop_empty(description=tool.description),
        }
        if tool.kind == "custom":
            return (
                written | {"format": {"type": "grammar", **tool.grammar}}
                if tool.grammar
                else written
            )
        repaired = for_openai(tool.schema)
        self.drop_inside("tools.schema", repaired.lost)
        is_strict = bool(tool.strict) and qualifies_for_openai(repaired.schema)
        if tool.strict and not is_strict:
            self.drop("tools.strict")
        return written | {"parameters": repaired.schema, "strict": is_strict}

    def web_search(self, search: ir.WebSearch) -> Json:
        if search.max_uses:
            self.drop("max_uses")
        if search.blocked_domains:
            self.drop("blocked_domains")
        return {"type": "web_search"} | drop_empty(
            filters=drop_empty(allowed_domains=list(search.allowed_domains)),
            user_location={"type": "approximate", **search.location} if search.location else None,
            search_context_size=search.context_size,
        )

    def tool_choice(self) -> str | Json:
        choice = self.prompt.tool_choice or ir.ToolChoice()
        if choice.mode != "named":
            return choice.mode
        tools = (
            tool
            for tool in self.prompt.tools
            if isinstance(tool, ir.Tool) and tool.name == choice.name
        )
        kind = next((tool.kind for tool in tools), None)
        if kind is None and any(isinstance(tool, ir.WebSearch) for tool in self.prompt.tools):
            return {"type": ir.WEB_SEARCH}
        kind = kind or "function"
        return (
            {"type": kind}
            if kind == "local_shell"
            else {"type": kind, "name": openai_name(choice.name)}
        )

    # --- settings ---

    def settings(self) -> Json:
        """Return the settings that the public service takes and the ChatGPT backend refuses; there
        a user is only a cache key.
        """
        prompt = self.prompt
        public = not self.dialect.codex
        sampling = public and self.model.sampling
        user = _digest(prompt.user) if prompt.user else None
        max_tokens = prompt.max_tokens
        if public and max_tokens is not None and max_tokens < LEAST_OUTPUT:
            self.drop("max_tokens")
            max_tokens = LEAST_OUTPUT
        table = (
            # Each row: our name, the service's, the value, and whether this service takes it. What
            # is not taken is reported, never lost in silence.
            ("max_tokens", "max_output_tokens", max_tokens, public),
            (
                "temperature",
                "temperature",
                None if prompt.temperature == 1 else prompt.temperature,
                sampling,
            ),
            ("top_p", "top_p", None if prompt.top_p == 1 else prompt.top_p, sampling),
            ("top_k", "", prompt.top_k, False),
            ("stop", "", prompt.stop or None, False),
            ("metadata", "metadata", prompt.metadata or None, public),
            ("user", "safety_identifier", user, public),
        )
        for name, _, value, taken in table:
            if value is not None and not taken:
                self.drop(name)
        return {spelled: value for _, spelled, value, taken in table if value is not None and taken}

    def reasoning(self) -> Json:
        asked = self.prompt.reasoning
        effort = asked.effort
        if asked.mode == "disabled":
            if effort:
                self.drop("reasoning_effort")
            effort = "none"
        elif effort is None and asked.mode == "enabled" and asked.budget:
            effort = effort_of_budget(asked.budget)
        elif asked.budget:
            self.drop("budget")
        if asked.mode == "between_tools":
            self.drop("thinking")
        written: Json = {"effort": self.effort(effort)} if effort else {}
        reasons = self.dialect.codex or self.model.efforts or effort
        if reasons and asked.summary not in {"none", "omitted"}:
            written["summary"] = (
                asked.summary if asked.summary in {"concise", "detailed"} else "auto"
            )
        return written

    def effort(self, wanted: str) -> str:
        has = self.model.efforts & set(ir.EFFORTS) or set(ir.EFFORTS)
        if self.dialect.codex:
            has -= {"minimal"}  # listed for some models, refused for all
        found = (
            "low" if wanted == "minimal" and "low" in has else nearest_effort(wanted, has) or wanted
        )
        if wanted not in {found, "minimal"}:
            self.drop("reasoning_effort")
        return found

    def text(self) -> Json:
        wanted = self.prompt.response_format
        if wanted is not None and wanted.schema is not None:
            repaired = for_openai(wanted.schema, is_tool=False)
            self.drop_inside("response_format.schema", repaired.lost)
            is_strict = bool(wanted.strict) and qualifies_for_openai(repaired.schema)
            if wanted.strict and not is_strict:
                self.drop("response_format.strict")
            wanted = replace(wanted, schema=repaired.schema, strict=is_strict)
        return drop_empty(
            format=write_format(wanted) if wanted else None, verbosity=self.prompt.verbosity
        )

    def service_tier(self) -> str | None:
        tier = self.prompt.service_tier
        if tier in {"priority", "fast"}:
            return "priority"
        if tier in {None, "auto", "default", "standard_only"}:
            return None
        if self.dialect.codex:
            self.drop("service_tier")
            return None
        return tier


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


def write_format(wanted: ir.ResponseFormat | None) -> Json:
    if wanted is None:
        return {"type": "text"}
    if wanted.schema is None:
        return {"type": "json_object"}
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", short_name(wanted.name or "reply"))
    strict = {"strict": bool(wanted.strict), **drop_empty(description=wanted.description)}
    return {"type": "json_schema", "name": name, "schema": wanted.schema, **strict}


def _digest(text: str) -> str:
    """Return a key that reveals no id: clients put account and session ids in the user field."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
