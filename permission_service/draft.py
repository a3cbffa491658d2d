"""A presentation in the making: the input of one permission request, and the parts of it that are
shown already.

A tool's own way to present its input takes each field that it shows; whatever no field showed is
added as JSON at the end. An input of a shape that the tool does not have raises OddShape, and is
then shown as JSON as a whole.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from permission_service.differences import Effort
from permission_service.lookalikes import word_warnings
from shared.bus.channels import PermissionRequest
from shared.permissions.presented import Block, BlockKind, PresentedQuestion
from shared.runtime.visible_text import TAB, visible, visible_line

SHOWN_CHARACTERS = 262_144  # of one text; an input of an accepted request is not longer
TITLE_CHARACTERS = 100
LINE_CHARACTERS = 1_000
SPELLED_OUT = r"Characters that a screen would hide are spelled out, as \u202e."
# Fields with these values change nothing, so they are not shown.
DEFAULTS: dict[str, tuple[Any, ...]] = {
    "dangerouslyDisableSandbox": (False, None),
    "replace_all": (False, None),
    "run_in_background": (False, None),
    "timeout": (120_000, None),  # milliseconds
    "description": ("", None),
}


class OddShape(Exception):
    """An input without the shape of its tool."""


@dataclass
class Draft:
    """The unfinished presentation of `request`. `left` holds the fields without a block."""

    request: PermissionRequest
    title: str = ""
    blocks: list[Block] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    questions: list[PresentedQuestion] = field(default_factory=list)
    complete: bool = True
    effort: Effort = field(default_factory=Effort)
    left: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.left = dict(self.request.input)

    def take_text(self, name: str) -> str:
        """Return the text field `name` and count the field as shown. Raises OddShape for any other
        type.
        """
        value = self.left.get(name)
        if not isinstance(value, str):
            raise OddShape(name)
        del self.left[name]
        return value

    def take_flag(self, name: str) -> bool:
        """Return True if the field `name` is true; the field then counts as shown."""
        if self.left.get(name) is True:
            del self.left[name]
            return True
        return False

    def warn(self, *sentences: str) -> None:
        """Add warnings, shown first, every warning once."""
        self.warnings += [sentence for sentence in sentences if sentence not in self.warnings]

    def add_text(self, label: str, text: str, kind: BlockKind = "text", note: str = "") -> None:
        """Add a block with the whole of `text`, or with its ends if longer than
        SHOWN_CHARACTERS.
        """
        shown, hidden = cut_middle(text, SHOWN_CHARACTERS)
        self.warn(*word_warnings(shown))
        self.complete = self.complete and not hidden
        # Tabs are written as spaces in every text, which hides nothing; any other difference means
        # escaped characters.
        seen = visible(shown)
        if seen != shown.replace("\t", TAB):
            self.warn(SPELLED_OUT)
        self.blocks.append(Block(line(label), kind, seen, note=line(note), hidden=hidden))

    def add_line(self, label: str, text: str) -> None:
        """Add a short text, as a path or an address, beside a label."""
        self.add_text(label, text, "line")

    def add_block(self, block: Block) -> None:
        """Add a block of visible text."""
        self.warn(
            *word_warnings(block.text), *word_warnings("\n".join(row.text for row in block.rows))
        )
        self.blocks.append(block)

    def add_json(self, label: str, value: Any) -> None:
        """Add a block with `value` as JSON. A value nested too deeply is counted as unseen."""
        try:
            text = json.dumps(value, indent=2, ensure_ascii=False, default=repr)
        except (RecursionError, ValueError):
            self.complete = False
            self.add_text(label, "", "json", "The input is nested too deeply to be shown.")
            return
        self.add_text(label, text, "json")

    def add_rest(self) -> None:
        """Add the model's remark about the call, and every field without a block."""
        # The remark is the model's own word about its call, so it stands apart from the facts and
        # only beside other blocks.
        description = self.left.get("description")
        if isinstance(description, str) and description and self.blocks:
            del self.left["description"]
            self.add_text("Claude says", description, "remark")
        rest = {name: value for name, value in self.left.items() if not is_default(name, value)}
        if rest:
            self.add_json("Also given" if self.blocks else "Input", rest)

    def place(self, path: str) -> str:
        """Return `path` as seen from the working folder of the request, for a title."""
        folder = self.request.working_directory
        # A path with `..` may leave the folder again, so its short form would be a lie.
        if (
            os.path.isabs(folder)
            and path.startswith(folder.rstrip("/") + "/")
            and ".." not in path.split("/")
        ):
            path = path[len(folder.rstrip("/")) + 1 :]
        return path


def is_default(name: str, value: Any) -> bool:
    """Return True for a field without an effect, as `replace_all: false`."""
    # An input may hold lists, which are compared by value; 0 and False must not count as the same.
    return any(
        type(value) is type(default) and value == default for default in DEFAULTS.get(name, ())
    )


def cut_middle(text: str, limit: int) -> tuple[str, int]:
    """Return `text` with at most `limit` characters, and the number of characters cut from the
    middle.
    """
    hidden = len(text) - limit
    if hidden <= 0:
        return text, 0
    half = limit // 2
    return f"{text[:half]}\n… {hidden:,} characters hidden …\n{text[hidden + half :]}", hidden


def line(text: str, limit: int = LINE_CHARACTERS) -> str:
    """Return `text` on a single line, escaped, cut in the middle beyond `limit` characters."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]} … {text[-half:]}"
    return visible_line(text)


def count_lines(text: str) -> int:
    """Return the number of lines of `text`."""
    return text.count("\n") + (not text.endswith("\n") and text != "")


def lines_in_words(count: int) -> str:
    """Return a number of lines in words, as `1 line`."""
    return f"{count:,} line" if count == 1 else f"{count:,} lines"
