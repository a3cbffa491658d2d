"""Prompts written as Messages requests, for models of every generation."""

from __future__ import annotations

from typing import Any

from shared.accounts.models import claude_capabilities
from shared.formats.ir import Json, Message, Part, Prompt, Text, Thinking, Tool
from shared.formats.messages.request_out import write_prompt
from shared.formats.written import Capabilities, Written

NEW = claude_capabilities("claude-opus-5-5", [])


OPUS_5 = claude_capabilities("claude-opus-5", [])


OLD = claude_capabilities("claude-sonnet-4-5", [])


USER = Message("user", (Text("hi"),))


SIGNED = Thinking("hm", "sig", "anthropic")


TOOLS = (Tool("f"), Tool("g"))


def assistant(*parts: Part) -> Message:
    return Message("assistant", parts)


def user(*parts: Part) -> Message:
    return Message("user", parts)


def write(*messages: Message, model: Capabilities = NEW, **settings: Any) -> Written:
    return write_prompt(Prompt("m", messages or (USER,), **settings), model)


def shape(body: Json) -> list[tuple[str, list[str]]]:
    return [
        (turn["role"], [block["type"] for block in turn["content"]]) for turn in body["messages"]
    ]
