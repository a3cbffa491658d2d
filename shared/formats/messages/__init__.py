"""Anthropic's Messages format: a client's side and a provider's."""

from __future__ import annotations

from shared.formats.messages.errors import read_error, write_error
from shared.formats.messages.request_in import read_prompt
from shared.formats.messages.request_out import write_prompt
from shared.formats.messages.stream_in import Reader
from shared.formats.messages.stream_out import Writer, write_reply

__all__ = [
    "Reader",
    "Writer",
    "read_error",
    "read_prompt",
    "write_error",
    "write_prompt",
    "write_reply",
]
