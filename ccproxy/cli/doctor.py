"""`ccproxy doctor`: looks for every known reason why this would not work here, and says how to mend
each.

The checks stand in `ccproxy/cli/checks.py` (this machine) and `ccproxy/cli/checks_outside.py` (what
others have to answer). Exit code 1 when something is wrong, 0 when there is at most something to
note.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from ccproxy.cli.checks import HERE, Finding, Machine, Status, look_at_configuration
from ccproxy.cli.checks_outside import OUTSIDE, look_through_proxy
from ccproxy.cli.checks_request import look_at_request
from ccproxy.cli.console import say_to_a_person
from ccproxy.cli.exits import DONE, FAILED
from ccproxy.cli.found_stack import SeveralStacks
from ccproxy.cli.hooks_check import look_at_hooks
from ccproxy.cli.output import COLOURS, MARKS, show_json, show_line
from ccproxy.cli.status import find_running
from shared.runtime.visible_text import visible
from shared.settings.problems import ConfigurationError
from shared.settings.tree import load_settings

INDENT = 7  # the width of a mark and its space


def examine(*, url: str | None, as_json: bool, send: bool = False) -> int:
    """Look at everything and return the exit code. `url` is the public address of a reverse proxy
    in front; `send` sends one request, which costs what it costs.
    """
    say_to_a_person("Looking around; this takes a few seconds.")
    findings = list(all_findings(url, send=send))
    if as_json:
        show_json([asdict(finding) for finding in findings])
    else:
        shown = list(merged(findings))
        show_findings(shown)
        show_line(closing_line(shown))
    return FAILED if any(finding.status == "fail" for finding in findings) else DONE


def all_findings(url: str | None, *, send: bool = False) -> Iterator[Finding]:
    try:
        settings = load_settings()
    except ConfigurationError as error:
        yield Finding(
            "configuration",
            "fail",
            error.message,
            "Mend it; `ccproxy config check` says whether it is right.",
        )
        return
    try:
        stack = find_running(settings)
    except SeveralStacks as error:
        stack = None
        yield Finding("stack", "warn", error.message, "This looks at none of them.")
    machine = Machine(settings, stack=stack)
    yield from look_at_configuration()
    for look in HERE:
        yield from look(machine)
    yield from asyncio.run(outside(machine, url, send=send))
    yield from look_at_hooks()


async def outside(machine: Machine, url: str | None, *, send: bool) -> list[Finding]:
    asked = [look(machine) for look in OUTSIDE]
    if url:
        asked.append(look_through_proxy(machine, url))
    if send:
        asked.append(look_at_request(machine))
    return [finding for found in await asyncio.gather(*asked) for finding in found]


def merged(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield `findings`, those that say the same as one, which names the subject of each."""
    subjects: dict[tuple[Status, str, str], list[str]] = {}
    for finding in findings:
        subjects.setdefault((finding.status, finding.says, finding.fix), []).append(finding.about)
    for (status, says, fix), about in subjects.items():
        yield Finding(", ".join(about), status, says, fix)


def show_findings(findings: Iterable[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        mark = Text(f"{MARKS[finding.status]:<6}", COLOURS[finding.status])
        says = Text(visible(f"{finding.about}: {finding.says}"))
        console.print(mark, indented(says, console))
        if finding.fix:
            console.print(indented(Text(visible(finding.fix), "dim"), console, first=False))


def indented(text: Text, console: Console, *, first: bool = True) -> Text:
    """Return `text` wrapped at the terminal's width, each line but a `first` one below the sentence
    before; into a pipe as one line.
    """
    lines = text.wrap(console, console.width - INDENT) if console.is_terminal else [text]
    joined = Text("\n" + " " * INDENT).join(lines)
    return joined if first else Text(" " * INDENT) + joined


def closing_line(findings: list[Finding]) -> str:
    """Return the closing line: the number of problems and of notes."""
    counts = []
    for status, word in (("fail", "problem"), ("warn", "note")):
        count = sum(finding.status == status for finding in findings)
        if count or status == "fail":
            counts.append(f"{count or 'no'} {word}{'' if count == 1 else 's'}")
    return f"{', '.join(counts)}.".capitalize()
