"""OpenAI's Chat Completions format: a client's side. No provider behind us is asked in it."""

from __future__ import annotations

from shared.formats.openai_chat.reading import FIELDS, read_prompt
from shared.formats.openai_chat.writing import Writer, write_reply
from shared.formats.openai_errors import write_error

__all__ = ["FIELDS", "Writer", "read_prompt", "write_error", "write_reply"]
