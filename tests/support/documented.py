"""What pages tell a reader to run: `bash` blocks, each a script, and `ccproxy …` in running text.
`console`, `text` and `sh` blocks are only read.
"""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import typer.main

from ccproxy.cli.app import GROUPS, app

ROOT = Path(__file__).parent.parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs/tutorial.md", *sorted(ROOT.glob("docs/how-to/*.md")))
BASH = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(ccproxy(?: [^`|<>]*)?)`")


def scripts(page: Path) -> list[str]:
    return BASH.findall(page.read_text())


def inline_commands(page: Path) -> Iterator[str]:
    """Those named in text and tables; what stands for something (`ID`, `N`) is a number."""
    for line in INLINE.findall(FENCED.sub("", page.read_text())):
        yield re.sub(r"\b[A-Z]+\b", "1", line).replace("…", "1")


def understand(line: str) -> None:
    """Parse a command line to its last flag by the parser that runs it; nothing is run. Raises what
    click raises.
    """
    _, *arguments = shlex.split(line)
    command = typer.main.get_command(app)
    context = command.make_context("ccproxy", list(arguments))
    rest = [*context._protected_args, *context.args]
    if not rest:
        return
    name, *rest = rest
    if name in GROUPS:
        command = typer.main.get_command(importlib.import_module(GROUPS[name]).app)
        if not rest:
            return
        context = command.make_context(name, rest)
        name, *rest = [*context._protected_args, *context.args]
    if rest or name not in command.commands:
        command.commands[name].make_context(name, rest)
