"""What a page in docs/clients tells a reader to run, as the tests run it: so a page cannot go
stale.

A section (`## …`) is one trial. Its `bash` blocks run as one script, each other block as a program;
a block with `title="path"` is a file its reader saves first, in this section or an earlier one.
`console` and `text` are only read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs/clients"
BLOCK = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
RUN = ("bash", "python", "js", "java", "go")
ROUTE = re.compile(r'(?:8000/|"|\{ |, )(api|codex|sdk)(?=["/:\s]|$)', re.MULTILINE)


@dataclass(frozen=True)
class Section:
    page: str
    heading: str
    files: tuple[tuple[str, str], ...]
    programs: tuple[tuple[str, str], ...]  # language, text

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in (*self.files, *self.programs))

    @property
    def routes(self) -> list[str]:
        """Return the routes that the programs ask; of two files with one name the later is what
        they find.
        """
        texts = [*dict(self.files).values(), *(text for _, text in self.programs)]
        return sorted({route for text in texts for route in ROUTE.findall(text)})


def read_sections(page: str) -> Iterator[Section]:
    """Those with something to run."""
    files: list[tuple[str, str]] = []
    for part in re.split(r"^## ", (PAGES / f"{page}.md").read_text(), flags=re.MULTILINE)[1:]:
        blocks = list(BLOCK.finditer(part))
        files += [(block["title"], block["text"]) for block in blocks if block["title"]]
        programs = [
            (block["language"], block["text"])
            for block in blocks
            if block["language"] in RUN and not block["title"]
        ]
        if programs:
            yield Section(page, part.partition("\n")[0], tuple(files), tuple(programs))
