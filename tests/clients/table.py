"""The trials there are, and the table of them: every section of every page, in each environment pinned for the page."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from tests.clients.environments import PINS, read_pins
from tests.clients.pages import PAGES, Section, read_sections

TABLE = Path(__file__).parents[2] / "docs/reference/clients.md"
INTRODUCTION = """\
# Clients

Written by `make conformance`, which runs each of these programs, in an environment of its own (or that of the tests,
where it is the same version), against the whole stack and the simulator: every snippet of its page, with a token
required, and nobody else called.

| client | version | what was run |
| --- | --- | --- |
"""


@dataclass(frozen=True)
class Trial:
    environment: str  # the pins' name; of what comes with the checkout or the machine: the page's
    section: Section

    def __str__(self) -> str:
        return f"{self.environment}: {self.section.heading}"


def trials() -> list[Trial]:
    found = []
    for page in sorted(path.stem for path in PAGES.glob("*.md")):
        pinned = sorted(path.stem for path in PINS.iterdir() if path.stem.partition("@")[0] == page)
        found += [Trial(environment, section) for environment in pinned or [page] for section in read_sections(page)]
    return found


def is_pinned(trial: Trial) -> bool:
    return any(path.stem == trial.environment for path in PINS.iterdir())


def version_of(trial: Trial) -> str:
    if is_pinned(trial):
        return " ".join(read_pins(trial.environment).client)
    return (
        f"bundled with claude-agent-sdk {version('claude-agent-sdk')}" if trial.section.page == "claude-code" else "any"
    )


def render_table() -> str:
    rows = []
    for _, group in groupby(trials(), key=lambda trial: trial.environment):
        run = list(group)
        page = run[0].section.page
        title = (PAGES / f"{page}.md").read_text().partition("\n")[0].removeprefix("# ")
        headings = "; ".join(trial.section.heading for trial in run)
        rows.append(f"| [{title}](../clients/{page}.md) | {version_of(run[0])} | {headings} |\n")
    return INTRODUCTION + "".join(rows)
