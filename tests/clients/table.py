"""The trials there are, and the table of them: every section of every page, in each environment
pinned for the page.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from tests.clients.environments import PINS, read_pins
from tests.clients.pages import PAGES, Section, read_sections

TABLE = Path(__file__).parents[2] / "docs/reference/clients.md"
MACHINE = {
    "curl": ("curl", "--version"),
    "fetch": ("node", "--version"),
    "java": ("java", "-version"),
}
INTRODUCTION = """\
# Clients

Written by `make conformance`, which runs each of these programs, in an environment of its own (or that of the tests,
where it is the same version), against the whole stack and the simulator: every snippet of its page, with a token
required, and nobody else called.

| client | version | routes | what was run | date |
| --- | --- | --- | --- | --- |
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
        found += [
            Trial(environment, section)
            for environment in pinned or [page]
            for section in read_sections(page)
        ]
    return found


def is_pinned(trial: Trial) -> bool:
    return any(path.stem == trial.environment for path in PINS.iterdir())


def version_of(trial: Trial) -> str:
    if is_pinned(trial):
        return " ".join(read_pins(trial.environment).client)
    if trial.section.page.startswith("claude-code"):
        return f"bundled with claude-agent-sdk {version('claude-agent-sdk')}"
    return f"the machine's: {version_of_machine(*MACHINE[trial.section.page])}"


def version_of_machine(program: str, option: str) -> str:
    """Return the version that a program of this machine tells, "none" without the program."""
    if shutil.which(program) is None:
        return "none"
    told = subprocess.run([program, option], capture_output=True, text=True, check=True)
    return re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)[0]


def undated(table: str) -> str:
    """Return the table without what another day and another machine would write."""
    return re.sub(r"\d{4}-\d\d-\d\d|the machine's: [\w.]+", "", table)


def render_table() -> str:
    rows = []
    today = datetime.now(UTC).date()
    for _, group in groupby(trials(), key=lambda trial: trial.environment):
        run = list(group)
        page = run[0].section.page
        title = (PAGES / f"{page}.md").read_text().partition("\n")[0].removeprefix("# ")
        headings = "; ".join(trial.section.heading for trial in run)
        routes = " ".join(
            f"`/{route}`"
            for route in sorted({route for trial in run for route in trial.section.routes})
        )
        client = f"[{title}](../clients/{page}.md)"
        rows.append(f"| {client} | {version_of(run[0])} | {routes} | {headings} | {today} |\n")
    return INTRODUCTION + "".join(rows)
