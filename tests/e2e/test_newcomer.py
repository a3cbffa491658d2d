"""A newcomer with an empty home, in a terminal of 80 columns: the demo, then every command of README
and tutorial that ends by itself. No row is broken within a word, nothing ends in a traceback, and
each command that an output names is one.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from ccproxy.launcher.programs import find_script
from tests.support.documented import PAGES, scripts, understand
from tests.support.pseudo_terminal import in_terminal
from tests.support.stack import clean_environment

COLUMNS = 80
PROGRAM = find_script("ccproxy")
# Without a login these end with 1, as their help says.
WITHOUT_LOGIN = ("auth status", "doctor")
# These wait for a person or a signal, or change what the newcomer's machine does; other tests run
# them.
WAITING = re.compile(
    r"ccproxy(?: (?:demo|serve|run|permission-handler|auth login\S*|hooks install|hooks uninstall"
    r"|service|logs tail|top|phone|generate-token)\b.*)?"
)
MORE = ("--help", "workers list", "token list", "permissions rules", "config check", "hooks status")
NAMED = re.compile(r"`(ccproxy [^`]+)`")
DEMO_SECONDS = 120.0  # on a machine that is busy with other tests


def documented_commands() -> Iterator[str]:
    """Yield the arguments of each command in the blocks of README and tutorial that ends by
    itself, once.
    """
    seen = set()
    for page in PAGES[:2]:
        for line in "".join(scripts(page)).splitlines():
            command = line.partition("#")[0].strip()
            if command.startswith("ccproxy") and not WAITING.fullmatch(command):
                seen.add(command.removeprefix("ccproxy").strip())
    yield from sorted(seen | set(MORE))


def broken_rows(shown: str) -> list[str]:
    """Return the lines that a terminal of 80 columns breaks although they have a space to wrap
    at.
    """
    return [
        line
        for line in shown.splitlines()
        if cell_len(line) > COLUMNS and " " in line.strip()[:COLUMNS]
    ]


@pytest.mark.matrix
@pytest.mark.claude
@pytest.mark.timeout(300)
async def test_a_newcomer_meets_no_broken_row_traceback_or_command_that_is_none(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = clean_environment(home)
    environment["PATH"] = f"{Path(PROGRAM[0]).parent}:{environment['PATH']}"
    demo = [*PROGRAM, "demo", "--port", "0"]
    async with in_terminal(*demo, env=environment, deadline=DEMO_SECONDS) as terminal:
        await terminal.until("leaves nothing behind.")
        assert broken_rows(terminal.text) == []
        assert "note" not in terminal.text
        [url] = set(re.findall(r"is ready at (\S+)", terminal.text))
        for arguments in documented_commands():
            await check_command(arguments, environment)
        await check_next_step(url, environment)
        terminal.process.terminate()
        assert await terminal.end() == 0
        assert "Traceback" not in terminal.text
    # A program of Anthropic's may have left its own files; of ours there is no file but an empty
    # registry of stacks.
    assert [path for path in home.rglob("*ccproxy*/**/*") if path.is_file()] == []


async def check_command(arguments: str, environment: dict[str, str]) -> None:
    command = [*PROGRAM, *shlex.split(arguments)]
    async with in_terminal(*command, env=environment, columns=COLUMNS) as terminal:
        code = await terminal.end()
        shown = terminal.text
    assert code in ({0, 1} if arguments.startswith(WITHOUT_LOGIN) else {0}), f"{arguments}: {shown}"
    assert "Traceback" not in shown
    assert broken_rows(shown) == [], arguments
    # A name may be wrapped over two rows.
    for named in NAMED.findall(" ".join(shown.split())):
        understand(re.sub(r"\b[A-Z]+\b", "1", named))


async def check_next_step(url: str, environment: dict[str, str]) -> None:
    """Follow the step that the first screen names: Claude Code answers through the stack."""
    command = [*PROGRAM, "run", "--", "claude", "-p", "[[say:Ahoy, newcomer!]]"]
    async with in_terminal(*command, env=environment, deadline=DEMO_SECONDS) as terminal:
        await terminal.until("Ahoy, newcomer!")
        assert await terminal.end() == 0
    command = [*PROGRAM, "env", "claude", "--shell", "json"]
    async with in_terminal(*command, env=environment, columns=COLUMNS) as terminal:
        assert await terminal.end() == 0
        assert json.loads(terminal.text)["variables"]["ANTHROPIC_BASE_URL"] == f"{url}/api"
