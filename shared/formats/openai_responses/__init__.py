"""OpenAI's Responses format: a client's side, and a provider's: the ChatGPT backend's or the public one's."""

from __future__ import annotations

from shared.formats.openai_errors import read_error, write_error
from shared.formats.openai_responses.native import prepare
from shared.formats.openai_responses.reader import Reader
from shared.formats.openai_responses.reading import FIELDS, read_prompt
from shared.formats.openai_responses.writer import Writer, write_reply
from shared.formats.openai_responses.writing import Dialect, write_prompt

__all__ = [
    "FIELDS",
    "Dialect",
    "Reader",
    "Writer",
    "prepare",
    "read_error",
    "read_prompt",
    "write_error",
    "write_prompt",
    "write_reply",
]
