"""Text from outside as a person may see it: every character is seen, and no character moves the
cursor.

A model, a client or a provider chooses the characters of tool inputs, paths, model names and error
messages. A terminal obeys some of them (escape sequences write the clipboard and clear the screen),
some hide or reorder their neighbours, and some look like the ordinary blank. Each such character is
replaced by its escape, as in `\\u202e`, so that a command looks like the command that runs.

Invariant: the result of `visible` has no character of `HIDDEN_CATEGORIES` but U+0020 and the line
end, and no default-ignorable code point. Applying `visible` twice changes nothing more.
"""

from __future__ import annotations

import re
import unicodedata

# Control, format (bidi, zero width, tags), surrogate, private use, unassigned, line and paragraph
# separators, and every blank that is not U+0020.
HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
# Characters of other categories that draw nothing: the rest of Default_Ignorable_Code_Point
# (Unicode 17, DerivedCoreProperties.txt), the empty Braille pattern and the musical null notehead.
DRAWS_NOTHING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
NOT_PLAIN = re.compile(r"[^\x20-\x7e\n]")
TAB = "    "


def visible(text: str) -> str:
    """Return `text` with escapes for hidden characters. Line ends stay, a tab becomes
    four blanks.
    """
    return NOT_PLAIN.sub(_escaped, text)


def visible_line(text: str) -> str:
    r"""Return `visible(text)` on a single line: every line end is spelled `\n`, so no text forges a
    line.
    """
    return visible(text).replace("\n", "\\n")


def cut(text: str, width: int) -> str:
    """Return at most `width` characters of `text`; a cut text ends in `…`."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    if char == "\t":
        return TAB
    if unicodedata.category(char) not in HIDDEN_CATEGORIES and not DRAWS_NOTHING.match(char):
        return char
    code = ord(char)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
