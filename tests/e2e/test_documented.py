"""Every command in the README, the tutorial and the how-to pages is run as its reader would run it,
in a home of its own, with the running stack in the place of the reader's.

What this machine may not have, or what must not be done to it, are stand-ins that only note what
they were asked; each is then judged by what it names.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from ccproxy.launcher.programs import find_script
from tests.support.documented import PAGES, ROOT, inline_commands, scripts, understand
from tests.support.stack import Stack

# The page about the first ccproxy names commands that are gone.
TEXTS = [
    page for page in sorted(ROOT.glob("docs/*.md")) if page.stem not in {"tutorial", "upgrade"}
]
NOTED = (
    "docker",
    "journalctl",
    "kubectl",
    "kubernetes-validate",
    "loginctl",
    "make",
    "npm",
    "pip",
    "pytest",
    "systemctl",
)
NOTE = (
    '#!/bin/sh\nfor word in "$(basename "$0")" "$@"; do printf \'%s\\0\' "$word"; done '
    '>>"$NOTES"; echo >>"$NOTES"\n'
)
CURL = '#!/bin/sh\nexec {curl} --fail-with-body "$@"\n'
# Waits for a person, or for Ctrl-C: that it exists is proved here, what it does elsewhere.
CCPROXY = """#!/bin/sh
case "$*" in
"" | demo | "auth login" | "auth login-openai" | permission-handler) exec {ccproxy} "$@" --help ;;
"permission-handler --once") exec {python} {answer} {ccproxy} ;;
*) exec {ccproxy} "$@" ;;
esac
"""
ANSWER = """
import json, subprocess, sys
handler = subprocess.Popen([*sys.argv[1:], "permission-handler", "--once", "--json"], stdin=-1, stdout=-1, text=True)
for line in handler.stdout:
    event = json.loads(line)
    if event.get("type") == "permission_request":
        print(json.dumps({"request_id": event["request_id"], "allowed": True}), file=handler.stdin, flush=True)
sys.exit(handler.wait())
"""


@pytest.fixture
def reader(stack: Stack, tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who reads a page: an empty home, the commands, and this stack."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (tmp_path / "answer.py").write_text(ANSWER)
    filled = {
        "ccproxy": shlex.join(find_script("ccproxy")),
        "python": sys.executable,
        "answer": tmp_path / "answer.py",
    }
    texts = {**dict.fromkeys(NOTED, NOTE), "curl": CURL.format(curl=shutil.which("curl"))}
    for name, text in (texts | {"ccproxy": CCPROXY.format(**filled)}).items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "work").mkdir()
    shutil.copy(ROOT / ".env.example", tmp_path / "work")
    path = f"{programs}:{stack.environment['PATH']}"
    return stack.environment | {
        "HOME": str(tmp_path / "home"),
        "PATH": path,
        "NOTES": str(tmp_path / "notes"),
    }


@pytest.mark.long
@pytest.mark.claude
@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_work(
    page: Path, stack: Stack, reader: dict[str, str], tmp_path: Path
) -> None:
    here = tmp_path / "work"
    for script in [*scripts(page), "ccproxy config check"]:  # whatever the page wrote can be used
        text = re.sub(r"http://(127\.0\.0\.1|localhost):8000", stack.url, script)
        command = ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(
            command, cwd=here, env=reader, capture_output=True, text=True, timeout=50, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    for line in (
        (tmp_path / "notes").read_text().splitlines() if (tmp_path / "notes").exists() else ()
    ):
        judge(*line.rstrip("\0").split("\0"))
    if page.stem == "tutorial":
        assert "touch hello.txt" in (here / "answer.json").read_text()
        [written] = stack.home.rglob(
            "hello.txt"
        )  # the command that was allowed has run, in the agent's own folder
        assert written.parent.name == "workspace"


def judge(program: str, *arguments: str) -> None:
    """What was asked of a stand-in names only what there is."""
    if program == "make":
        subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, check=True, capture_output=True)
    elif program == "docker":
        assert arguments[0] in {"build", "compose"}
        for option, file in pairwise(arguments):
            assert option != "-f" or (ROOT / file).exists(), file
    elif program in {"kubectl", "kubernetes-validate", "pytest"}:
        for path in (each for each in arguments if each.startswith(("deploy/", "tests/"))):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", [*PAGES, *TEXTS], ids=lambda page: page.stem)
def test_every_command_in_the_text_is_one(page: Path) -> None:
    for line in inline_commands(page):
        understand(line)
