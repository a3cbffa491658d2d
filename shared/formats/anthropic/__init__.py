"""Anthropic's Messages format: a client's side and a provider's."""

from __future__ import annotations

from shared.formats.anthropic.errors import read_error, write_error
from shared.formats.anthropic.reader import Reader
from shared.formats.anthropic.reading import read_prompt
from shared.formats.anthropic.writer import Writer, write_reply
from shared.formats.anthropic.writing import write_prompt

__all__ = ["Reader", "Writer", "read_error", "read_prompt", "write_error", "write_prompt", "write_reply"]
