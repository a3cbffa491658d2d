"""OpenAI's Chat Completions format: a client's side. No provider behind us is asked in it."""

from __future__ import annotations

from shared.formats.chat.request_in import FIELDS, read_prompt
from shared.formats.chat.stream_out import Writer, write_reply
from shared.formats.openai_errors import write_error

__all__ = ["FIELDS", "Writer", "read_prompt", "write_error", "write_reply"]
