"""Measure the gateway beside other programs of its kind, in one run: `make bench
BENCH_ARGS="--only peers"`.

Programs of the registries are installed on demand outside the repository; what does not install is
named with its reason, and so is what was left out on purpose. All programs then run in a network
of their own, where the kernel gives one, so that none reaches another host.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import gateways
from benchmarks.peers_packages import PACKAGES, NotInstalled, install
from benchmarks.peers_page import (
    STREAMS,
    Found,
    bodies_table,
    charts,
    errors_table,
    paced_table,
    start_table,
    work_table,
)
from benchmarks.peers_programs import PEERS
from benchmarks.peers_rounds import CELLS, apart
from benchmarks.report import Section, Table

ROUNDS, BUDGET_SECONDS, WORD_ROUNDS = 3, 840, 4
QUICK_ROUNDS, QUICK_BUDGET_SECONDS, QUICK_WORD_ROUNDS, QUICK_SCALE = 1, 150, 1, 0.25


def run(*, quick: bool) -> Section:
    """Return the comparison; a quick one has one round of shorter loads."""
    installed, missing = install_all()
    budget = QUICK_BUDGET_SECONDS if quick else BUDGET_SECONDS
    found = in_own_network(
        "benchmarks.peers_rounds",
        {
            "installed": installed,
            "rounds": QUICK_ROUNDS if quick else ROUNDS,
            "budget": budget,
            "scale": QUICK_SCALE if quick else 1,
        },
    )
    words = in_own_network(
        "benchmarks.peers_sdk",
        {"installed": installed, "rounds": QUICK_WORD_ROUNDS if quick else WORD_ROUNDS},
    )
    return section(found, words, missing)


def install_all() -> tuple[dict[str, str], dict[str, str]]:
    """Return the folders of the packages that are installed, and why others are not."""
    installed: dict[str, str] = {}
    missing: dict[str, str] = {}
    for package in PACKAGES:
        try:
            installed[package.program] = str(install(package))
        except (NotInstalled, OSError) as why:
            missing[package.program] = str(why)
    return installed, missing


def in_own_network(module: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Run `module` as a program without other hosts, and return what it found."""
    with tempfile.TemporaryDirectory(prefix="ccbench") as folder:
        asked, answer = Path(folder) / "plan.json", Path(folder) / "found.json"
        asked.write_text(json.dumps(plan))
        command = [*apart(), sys.executable, "-m", module, str(asked), str(answer)]
        subprocess.run(command, check=True)
        found: dict[str, Any] = json.loads(answer.read_text())
        return found


def section(found: Found, words: Mapping[str, Any], missing: Mapping[str, str]) -> Section:
    """Return the section of the page."""
    paced = {streams: f"paced {streams}" for streams in STREAMS}
    tables = [
        (PASSED_ON, work_table(found, "whole 64", "burst 16", "whole 1")),
        (TRANSLATED, work_table(found, "chat whole 16", "chat burst 16")),
        (TRANSLATED_PACED, paced_table(found, {64: "chat paced 64"})),
        (CODEX, streams_table(found, "responses burst 16")),
        (PACED, paced_table(found, paced)),
        (BODIES, bodies_table(found)),
        (STARTS, start_table(found)),
        (WORDS, words_table(words)),
        (ERRORS, errors_table(found)),
    ]
    return Section(
        "peers",
        "The gateway beside other programs",
        'make bench BENCH_ARGS="--only peers"',
        text(found, words, missing),
        tables,
        charts(found),
        versions(found, missing),
    )


def streams_table(found: Found, cell: str) -> Table:
    """Return what whole streams of one load cost, without a load of whole answers beside it."""
    whole = work_table(found, cell, cell)
    rows = [[name, streams, cpu, errors] for name, streams, cpu, errors in whole.rows]
    return Table(["program", "streams a CPU-second", "CPU ms a stream", "errors"], rows)


def words_table(words: Mapping[str, Any]) -> Table:
    rows = []
    for name, seconds in words["seconds"].items():
        times = [1000 * min(seconds), 1000 * statistics.median(seconds)]
        rows.append([name, *(f"{value:,.0f}" for value in times), str(len(seconds)), ""])
    rows += [
        [name, "", "", "", " ".join(error[:90].split())] for name, error in words["failed"].items()
    ]
    return Table(["first word, ms", "least", "median", "rounds", "error"], rows)


def versions(found: Found, missing: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of the programs which were measured."""
    named = {each.program: each.version for each in PACKAGES if each.program not in missing}
    own = gateways.versions()
    if "nginx" not in found:
        own.pop("nginx", None)
    node = shutil.which("node")
    if node:
        told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
        own["Node"] = told.stdout.strip().removeprefix("v")
    return {**named, **own}


def text(found: Found, words: Mapping[str, Any], missing: Mapping[str, str]) -> str:
    """Return how it was measured, what each program is set to, and what is left out."""
    rounds = max((len(each) for each in found.values()), default=0)
    count = f"{rounds} round{'s' if rounds != 1 else ''}"
    setups = [f"- **{peer.name}**: {peer.setup}." for peer in PEERS if peer.name in found]
    left = [f"- **{name}** was not installed: {why.rstrip('.')}." for name, why in missing.items()]
    left += [f"- **{name}** {why}" for name, why in LEFT_OUT.items()]
    if not shutil.which("nginx"):
        left.append("- **nginx** is not on this machine.")
    parts = [
        METHOD.format(rounds=count, loads=len(CELLS)),
        "Each program has the same provider, a made-up key and an empty home. It is set to:",
        "\n".join(setups),
        "Left out:",
        "\n".join(left),
        NOT_SAID,
    ]
    return "\n\n".join(parts)


METHOD = """A provider of our own answers at once with canned replies; it and the load share one
core, and the program measured has the other to itself: no two programs run at a time. In each
round every program is started, put under each of {loads} loads that it takes, and ended; the
figures are medians of {rounds}. `direct` is the load on the provider with no program between them.
CPU time is of all processes of a program, and is what to compare; a clock also shows what else the
machine did. *Added* is what a program adds to `direct` in the same round, with one connection.
Burst streams are 200 tokens that the provider sends at once, on 16 connections; paced streams
send 100 tokens, one each 20 ms, and each token carries the time it left the provider. A load ends
at a fixed time; what has not come some seconds later counts as an error. A program that did not
finish half of its paced streams is not asked for more; where streams are missing, the times shown
are of those that came, and one stream alone has the program's idle work in its CPU time."""

NOT_SAID = """What the figures do not say: what a program does with these requests beside passing
them on. CCProxy keeps a record of each request, its cost and quota, which the others were not asked
to; LiteLLM, Portkey and claude-code-router serve many providers, whose formats are not measured
here, and choose between them; nginx knows nothing of models. The load, the provider and the program
are on one machine without encryption between them; a real provider answers in seconds, beside which
most of these milliseconds are small. With more than one process each of them does more a second on
more cores."""

LEFT_OUT = {
    "claude-code-router 3": "asks for a package which its registry does not have; 2.0.0 is the "
    "newest that installs.",
    "Bifrost": "downloads its program from elsewhere when it is first started.",
    "CLIProxyAPI": "is written in Go, and no registry that is asked here has its program.",
}
PASSED_ON = """**Messages passed on**: one request alone, whole answers on 64 connections, and burst
streams on 16:"""
TRANSLATED = "**Chat Completions translated to Messages and back**, on 16 connections:"
TRANSLATED_PACED = "**The same, 64 paced streams**:"
CODEX = "**Codex: Responses streams passed on** on 16 connections:"
PACED = "**Paced streams of Messages**, as a model writes:"
BODIES = "**Large request bodies**, one connection:"
STARTS = "**Start and memory** of all processes of a program:"
WORDS = "**The first word of an agent**: the same `claude` behind each, until the first text:"
ERRORS = "**Errors**, of all rounds together:"
