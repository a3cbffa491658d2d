"""OpenAI's Responses format: a client's side, and a provider's: the ChatGPT backend's or the public
one's.
"""

from __future__ import annotations

from shared.formats.openai_errors import read_error, write_error
from shared.formats.responses.native import prepare, prepare_for_key
from shared.formats.responses.request_in import FIELDS, read_prompt
from shared.formats.responses.request_out import write_prompt
from shared.formats.responses.stream_in import Reader
from shared.formats.responses.stream_out import Writer, write_reply
from shared.formats.responses.target import Dialect

__all__ = [
    "FIELDS",
    "Dialect",
    "Reader",
    "Writer",
    "prepare",
    "prepare_for_key",
    "read_error",
    "read_prompt",
    "write_error",
    "write_prompt",
    "write_reply",
]
