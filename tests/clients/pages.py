"""What a page in docs/clients tells a reader to run, as the tests run it: so a page cannot go stale.

A section (`## …`) is one trial. Its `bash` blocks run as one script, each `python` or `js` block as a program; a block
with `title="path"` is a file its reader saves first, in this section or an earlier one. `console` and `text` are only
read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs/clients"
BLOCK = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
RUN = ("bash", "python", "js")


@dataclass(frozen=True)
class Section:
    page: str
    heading: str
    files: tuple[tuple[str, str], ...]
    programs: tuple[tuple[str, str], ...]  # language, text

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in (*self.files, *self.programs))


def read_sections(page: str) -> Iterator[Section]:
    """Those with something to run."""
    files: list[tuple[str, str]] = []
    for part in re.split(r"^## ", (PAGES / f"{page}.md").read_text(), flags=re.MULTILINE)[1:]:
        blocks = list(BLOCK.finditer(part))
        files += [(block["title"], block["text"]) for block in blocks if block["title"]]
        programs = [
            (block["language"], block["text"]) for block in blocks if block["language"] in RUN and not block["title"]
        ]
        if programs:
            yield Section(page, part.partition("\n")[0], tuple(files), tuple(programs))
