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

from ccproxy.cli.checks import HERE, Finding, Machine, look_at_configuration
from ccproxy.cli.checks_outside import OUTSIDE, look_through_proxy
from ccproxy.cli.console import say_to_a_person
from ccproxy.cli.exits import DONE, FAILED
from ccproxy.cli.output import COLOURS, MARKS, show_json
from ccproxy.cli.status import find_running
from shared.runtime.visible_text import visible
from shared.settings.problems import ConfigurationError
from shared.settings.tree import load_settings


def examine(*, url: str | None, as_json: bool) -> int:
    """Look at everything and return the exit code. `url` is the public address of a reverse proxy
    in front.
    """
    say_to_a_person("Looking around; this takes a few seconds.")
    findings = list(all_findings(url))
    if as_json:
        show_json([asdict(finding) for finding in findings])
    else:
        show_findings(findings)
    return FAILED if any(finding.status == "fail" for finding in findings) else DONE


def all_findings(url: str | None) -> Iterator[Finding]:
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
    machine = Machine(settings, running=find_running(settings))
    yield from look_at_configuration()
    for look in HERE:
        yield from look(machine)
    yield from asyncio.run(outside(machine, url))


async def outside(machine: Machine, url: str | None) -> list[Finding]:
    asked = [look(machine) for look in OUTSIDE]
    if url:
        asked.append(look_through_proxy(machine, url))
    return [finding for found in await asyncio.gather(*asked) for finding in found]


def show_findings(findings: Iterable[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        mark = Text(f"{MARKS[finding.status]:<6}", COLOURS[finding.status])
        console.print(mark, Text(visible(f"{finding.about}: {finding.says}")))
        if finding.fix:
            console.print(Text(visible(f"       {finding.fix}"), "dim"))
