"""Text that a model wrote, as a terminal may show it: nothing moves the cursor, nothing is invisible."""

from __future__ import annotations

import re
import shutil
import unicodedata

INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"})
NOT_PLAIN = re.compile(r"[^\x20-\x7e\n]")


def visible(text: str) -> str:
    """Control and direction-changing characters become escapes; line ends stay, tabs become blanks."""

    def show(found: re.Match[str]) -> str:
        char = found[0]
        if char == "\t":
            return "    "
        return f"\\u{ord(char):04x}" if unicodedata.category(char) in INVISIBLE else char

    return NOT_PLAIN.sub(show, text)


def one_line(text: str, width: int) -> str:
    line = " ".join(visible(text).split())
    return line if len(line) <= width else line[: width - 1] + "…"


def room_for_input() -> int:
    """Lines of an input that fit on the screen beside everything else."""
    return max(5, shutil.get_terminal_size().lines - 13)
