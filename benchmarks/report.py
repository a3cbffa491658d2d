"""The page docs/benchmarks.md: one section for each set of measurements, between two marks.

A section is replaced as a whole, by the measurement that has its name, and no other is touched.
Each says with which command, when, of which version and on which machine its figures were taken,
and how busy the machine was meanwhile.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from docs.markup import replace_part, table
from shared.runtime.version import VERSION

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/benchmarks.md"
PICTURES = "pictures/benchmarks"  # beside the page


@dataclass(frozen=True)
class Table:
    """Cells of Markdown; the first column is text, the others are numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        return table(" | ".join(self.head), self.rows, numbers=True)


@dataclass(frozen=True)
class Section:
    """One set of measurements: `tables` with a caption each, `charts` as alternative text and SVG,
    and the `versions` of what was measured beside the product.
    """

    name: str
    title: str
    command: str
    text: str
    tables: Sequence[tuple[str, Table]]
    charts: Sequence[tuple[str, str]]
    versions: Mapping[str, str]

    def body(self) -> str:
        """Return text and tables as Markdown."""
        paragraphs = [self.text]
        for caption, each in self.tables:
            paragraphs += [caption, each.markdown()] if caption else [each.markdown()]
        return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def write_section(section: Section, page: Path = PAGE, *, begun: str | None = None) -> None:
    """Put `section` in the place of the section of its name in `page`, or at its end; `begun` is
    the load of the machine when the measurement began.
    """
    text = page.read_text()
    begin, end = f"<!-- {section.name}: begin -->", f"<!-- {section.name}: end -->"
    if begin not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    names = write_charts(section, page.parent / PICTURES)
    pictures = [
        f"![{alt}]({PICTURES}/{name})" for (alt, _), name in zip(section.charts, names, strict=True)
    ]
    paragraphs = [
        f"## {section.title}",
        f"    {section.command}",
        circumstances(section.versions, begun or LOAD_AT_IMPORT, load_average()),
        section.text,
        *pictures,
        *(f"{caption}\n\n{each.markdown()}".strip() for caption, each in section.tables),
    ]
    part = "\n\n".join(paragraph for paragraph in paragraphs if paragraph)
    page.write_text(replace_part(text, begin, end, f"\n\n{part}\n\n"))


def write_charts(section: Section, folder: Path) -> list[str]:
    """Write the charts of `section`, remove those of the run before, and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{section.name}-*.svg"):
        if old.stem.removeprefix(f"{section.name}-").isdigit():
            old.unlink()
    names = [f"{section.name}-{number}.svg" for number in range(1, len(section.charts) + 1)]
    for name, (_, svg) in zip(names, section.charts, strict=True):
        (folder / name).write_text(svg)
    return names


def circumstances(versions: Mapping[str, str], before: str, after: str) -> str:
    """Return when, of what and where the figures were taken, with the load of the machine before
    and after.
    """
    day = datetime.now(UTC).strftime("%d %B %Y").lstrip("0")
    measured = "".join(f", {name} {version}" for name, version in versions.items())
    return (
        f"*{day}. CCProxy {VERSION}{commit()}{measured}. {machine()}. "
        f"Load average (1, 5, 15 minutes) before: {before}; after: {after}.*"
    )


def load_average() -> str:
    return " / ".join(f"{load:.1f}" for load in os.getloadavg())


LOAD_AT_IMPORT = load_average()


def machine() -> str:
    """Return cores, processor, memory and Python of this machine."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = models[0] if models else platform.machine()
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {processor}, {memory:.0f} GiB, Python {platform.python_version()}"


def commit() -> str:
    """Return the commit of the working tree in brackets, and whether files differ from it."""
    found = git("rev-parse", "--short=10", "HEAD")
    changed = git("status", "--porcelain", "--", ".", ":!docs")
    return f" ({found}{', with changes' if changed else ''})" if found else ""


def git(*arguments: str) -> str:
    """Return what git says of the folder of the product; nothing where it is no working tree."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
