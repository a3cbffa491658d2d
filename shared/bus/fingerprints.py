"""The fingerprint of a prompt: a number for each of its parts, in the order in which a provider
reads them, by which two prompts are compared. It holds no text of the prompt; of tools it has the
names.

A fingerprint is bounded: beyond MOST_MESSAGES, one number stands for two, four, … messages, and any
fingerprint can be made as coarse as another one.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.runtime.errors import ClientError
from shared.runtime.exact_json import dump_json, load_json

FORM = 1  # the first item of a written fingerprint; a reader refuses any other
MOST_MESSAGES = 1024  # numbers; a written fingerprint then has some 6 kB
MOST_TOOLS = 256
LONGEST_NAME = 64
NUMBER = 4  # bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """A `cache_control` of a prompt. `message` is the number of messages up to the mark, 0 for a
    mark on the tools or the system prompt; `block` the number of blocks of the whole prompt up to
    the mark, as counted by a provider's look backwards.
    """

    message: int
    block: int
    ttl_seconds: int


@dataclass(frozen=True, slots=True)
class PromptFingerprint:
    """The parts of a prompt. `kind` is `messages` or `responses`: the providers of the two kinds
    keep prompts by different rules.

    `settings` are the settings that providers read with the prompt, by name. `tools` are names and
    numbers; tools beyond MOST_TOOLS are one. `group` is how many messages one number of `messages`
    stands for, `message_count` how many messages there are.
    """

    kind: str
    settings: dict[str, int]
    tools: tuple[tuple[str, int], ...]
    system: tuple[int, ...]
    messages: tuple[int, ...]
    marks: tuple[Mark, ...] = ()
    message_count: int = 0
    group: int = 1

    def bounded(self) -> PromptFingerprint:
        """Return this fingerprint with at most MOST_MESSAGES numbers of messages."""
        found = self
        while len(found.messages) > MOST_MESSAGES:
            found = found.coarser(found.group * 2)
        return found

    def coarser(self, group: int) -> PromptFingerprint:
        """Return the fingerprint with a single number for `group` messages; an incomplete last
        group is left out.
        """
        numbers = self.messages
        for _ in range((group // self.group).bit_length() - 1):
            # Without the rest of an odd number: it would differ from the full group that it becomes
            # in the next turn.
            numbers = tuple(
                number_of(struct.pack("<II", *pair))
                for pair in zip(numbers[::2], numbers[1::2], strict=False)
            )
        return replace(self, messages=numbers, group=max(group, self.group))

    def written(self) -> str:
        """Return the fingerprint as a text for a record."""
        names = [name for name, _ in self.tools]
        marks = [[mark.message, mark.block, mark.ttl_seconds] for mark in self.marks]
        found: list[Any] = [
            FORM,
            self.kind,
            self.settings,
            names,
            packed([number for _, number in self.tools]),
            packed(self.system),
            packed(self.messages),
            marks,
            self.message_count,
            self.group,
        ]
        return dump_json(found).decode()


def read_fingerprint(text: str) -> PromptFingerprint:
    """Return the fingerprint in `text`. Raises ClientError for any other text."""
    try:
        form, kind, settings, names, tools, system, messages, marks, count, group = load_json(
            text.encode()
        )
        if form != FORM:
            raise ClientError(f"fingerprint: there is no form {form!r}.")
        return PromptFingerprint(
            kind,
            dict(settings),
            tuple(zip(names, unpacked(tools), strict=True)),
            unpacked(system),
            unpacked(messages),
            tuple(Mark(*mark) for mark in marks),
            count,
            group,
        )
    except (ValueError, TypeError, struct.error) as error:
        raise ClientError(f"fingerprint: {error}") from error


def number_of(data: bytes, before: int = 0) -> int:
    """Return the number of `data`, continued from the number of the data before it.

    A checksum, not a digest: it only has to differ where a prompt was changed, and costs the least
    for each byte.
    """
    return zlib.crc32(data, before)


def packed(numbers: Sequence[int]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}I", *numbers)).decode()


def unpacked(text: str) -> tuple[int, ...]:
    data = base64.b64decode(text, validate=True)
    return struct.unpack(f"<{len(data) // NUMBER}I", data)
