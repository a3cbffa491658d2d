"""Prompts written as Responses requests, for either service."""

from __future__ import annotations

from shared.formats.ir import Prompt
from shared.formats.responses.request_out import write_prompt
from shared.formats.responses.target import Dialect
from shared.formats.written import Capabilities

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = SCHEMA | {"additionalProperties": False, "required": ["a"]}
PUBLIC = Dialect(codex=False)
MODEL = Capabilities(efforts=frozenset({"low", "medium", "high", "xhigh"}), sampling=True)


def write(dialect=None, model=MODEL, **fields):
    return write_prompt(Prompt("m", **fields), model, dialect or Dialect())
