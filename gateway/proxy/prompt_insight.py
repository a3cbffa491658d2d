"""What a record keeps of a prompt: its fingerprint, and the working folder that the client names.

Both are read after the last byte of the reply. No text of a prompt gets into the record but the
path of the folder, and a prompt that cannot be read costs the record these two and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from json import JSONDecodeError
from typing import Any

from gateway.metering.fingerprinting import (
    LEAST_TOKENS,
    fingerprint_of,
    fingerprint_of_values,
    wanted_keys,
)
from gateway.providers import Outgoing
from gateway.proxy.slices import values_in
from shared.bus.channels import AccessRecord
from shared.formats.ir import Json
from shared.runtime.errors import ClientError

# By provider: the format of its prompts. The workers of `/sdk` write prompts of their own.
KINDS = {"claude": "messages", "codex": "responses"}
# Claude Code 2.1.330 writes the first form into a message of the role `system`; earlier versions
# wrote the second into the system prompt. Codex 0.154 writes the third into its first messages.
FOLDER = {
    "claude-code": re.compile(r"^(?: - Primary w|W)orking directory: (\S.*)$", re.MULTILINE),
    "codex": re.compile(r"\A<environment_context>\s*<cwd>([^<]+)</cwd>"),
}
LOOKED_AT = 8  # blocks of a prompt: the folder is named near the beginning
LONGEST_PATH = 1024


async def note_prompt(request: Outgoing) -> None:
    """Put the fingerprint of the prompt of an answered request into its record, and the folder."""
    record = request.record
    prompt_tokens = record.tokens_input + record.cache_read_tokens + record.cache_write_tokens
    kind = KINDS.get(record.provider, "")
    # Without a session there is nothing to compare with.
    if not kind or not record.session_id or prompt_tokens < LEAST_TOKENS:
        return
    document = request.sent or request.document
    try:
        if document is None:
            found = await fingerprint_of_values(kind, values_in(request.body, wanted_keys(kind)))
        else:
            record.working_directory = folder_in(record, document) or record.working_directory
            found = await fingerprint_of(kind, document)
    except (JSONDecodeError, ClientError, TypeError, ValueError, RecursionError):
        return  # the provider has judged the request; what cannot be read is not explained
    record.fingerprint = found.written()


def folder_in(record: AccessRecord, document: Json) -> str:
    """Return the folder that the client's program names in its prompt, "" for none."""
    pattern = FOLDER.get(record.client_program)
    if pattern is None:
        return ""
    for text in islice(opening_texts(document), LOOKED_AT):
        if found := pattern.search(text):
            return found[1].strip()[:LONGEST_PATH]
    return ""


def opening_texts(document: Json) -> Iterator[str]:
    """Yield the texts that a client's program writes by itself: those of the system prompt and of
    the messages of the roles `system` and `user`, the first ones first.
    """
    yield from texts_in(document.get("system"))
    for key in ("messages", "input"):
        messages = document.get(key)
        for message in messages[:LOOKED_AT] if isinstance(messages, list) else ():
            if isinstance(message, dict) and message.get("role") in OWN_ROLES[key]:
                yield from texts_in(message.get("content"))


# What a person wrote is in messages of the role `user`: of Messages they are not looked at.
OWN_ROLES = {"messages": ("system",), "input": ("user", "developer")}


def texts_in(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict) and isinstance(text := block.get("text"), str):
            yield text
