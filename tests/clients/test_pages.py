"""Real programs, told what docs/clients tells their readers, against the running stack.

curl and the two SDKs that the tests need themselves belong to the ordinary suite: nothing is
installed for them. The rest is marked `conformance`; `make conformance` runs everything.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.clients.conftest import TOKEN, Trap
from tests.clients.environments import Unreachable, programs_of, read_pins
from tests.clients.table import MACHINE, TABLE, Trial, is_pinned, render_table, trials, undated
from tests.support.pseudo_terminal import in_terminal
from tests.support.simulator_fixture import GroundTruth
from tests.support.stack import Stack, clean_environment

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
ORDINARY = re.compile("curl: |(anthropic|openai)-python: (Stream|Your|Chat Completions$|Responses)")
NOBODY_ELSE = {
    "ANONYMIZED_TELEMETRY": "false",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
    "AIDER_ANALYTICS_DISABLE": "true",
    "AIDER_CHECK_UPDATE": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENCODE_DISABLE_AUTOUPDATE": "true",
    "OPENCODE_DISABLE_MODELS_FETCH": "true",
}
WANTS = {  # what no setting prevents: a list of prices, a library on the first start
    "aider": ("CONNECT raw.githubusercontent.com",),
    "claude-code-interactive": ("CONNECT downloads.claude.ai", "CONNECT github.com"),
    "opencode": ("CONNECT registry.",),
}
GREETER = 'def greet(name):\n    return f"Hello, {name}"\n'
EDIT = """[[say:greet.py
```
<<<<<<< SEARCH
def greet(name):
=======
def greet(name):
    \"\"\"Say hello to someone.\"\"\"
>>>>>>> REPLACE
```
]]"""
# Behind /sdk a client's tool has a longer name; of the two, the one that is offered is called.
CALL = '[[tool:weather {"city": "Bern"}]][[tool:mcp__client__weather {"city": "Bern"}]]'
# What a page asks, what the simulator is asked instead, and what the reader must then see.
ASKED = {
    "Say hello.": ("[[say:Ahoy!]]", "Ahoy!"),
    "What is the weather in Bern?": (CALL, "The tool answered: .*sunny in Bern"),
    "Add a docstring to greet.": (EDIT, "Applied edit to greet.py"),
    "Where is the Eiffel Tower?": ("Where is the Eiffel Tower?", r"Place\(city=.*, country=.*\)"),
}
INTERACTIVE = re.compile(r"^claude.* # then type: (?P<typed>.*)$", re.MULTILINE)
WRITING = "Write hi into hello.txt."
WRITES = {
    "claude-code": '[[tool:Bash {"command": "echo hi there > hello.txt"}]]',
    "codex": '[[tool:exec_command {"cmd": "echo hi there > hello.txt"}]]',
    "opencode": '[[tool:write {"filePath": "hello.txt", "content": "hi there"}]]',
}


@pytest.mark.parametrize(
    "trial",
    [
        pytest.param(
            trial,
            id=str(trial),
            marks=[] if ORDINARY.match(str(trial)) else pytest.mark.conformance,
        )
        for trial in trials()
    ],
)
def test_what_its_page_says_works(
    trial: Trial, stack: Stack, truth: GroundTruth, trap: Trap, tmp_path: Path
) -> None:
    programs = find_programs(trial, tmp_path)
    asked = ASKED | {WRITING: (WRITES.get(trial.section.page, ""), "hi there")}
    for name, text in trial.section.files:
        path = Path(name.replace("~", str(tmp_path / "home")))
        path = tmp_path / "work" / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("http://127.0.0.1:8000", stack.url).replace("anything", TOKEN))
    start_repository(tmp_path / "work")
    environment = clean_environment(tmp_path / "home") | NOBODY_ELSE
    environment |= dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), trap.url
    )
    environment |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    said = ""
    for language, text in trial.section.programs:
        for question, (prompt, _) in asked.items():
            text = text.replace(question, escape(prompt, language))
        text = text.replace("http://127.0.0.1:8000", stack.url).replace("anything", TOKEN)
        said += run(language, text, tmp_path / "work", environment, programs)
    for question, (_, shown) in asked.items():
        if question in trial.section.text:
            assert re.search(shown, said), said
        if question in trial.section.text and "answered" in shown:  # by every model of a loop
            answers = [
                line for line in said.splitlines() if not line.startswith("AI SDK Warning System")
            ]
            assert all(re.search(shown, line) for line in answers), said
    requests = truth.requests()
    assert requests
    assert {request.status for request in requests} == {200}, [request.sent for request in requests]
    assert not [request for request in requests if TOKEN in f"{request.headers}{request.raw!r}"]
    assert not [
        line for line in trap.asked if not line.startswith(WANTS.get(trial.section.page, ()))
    ]


def find_programs(trial: Trial, folder: Path) -> Path:
    if comes_along(trial):
        return Path(sys.executable).parent
    if is_pinned(trial):
        try:
            return programs_of(read_pins(trial.environment))
        except Unreachable as nobody:
            pytest.skip(
                f"{trial.environment} could not be installed, no registry answered: {nobody}"
            )
    (folder / "bin").mkdir()
    if (needed := MACHINE.get(trial.environment)) and shutil.which(needed[0]) is None:
        pytest.skip(f"there is no {needed[0]} here")
    if trial.environment.startswith("claude-code"):
        (folder / "bin/claude").symlink_to(
            Path(find_spec("claude_agent_sdk").origin).parent / "_bundled/claude"
        )
    return folder / "bin"


def comes_along(trial: Trial) -> bool:
    """The environment of the tests has the very version that is pinned."""
    try:
        package, version = read_pins(trial.environment).client
        return metadata.version(package) == version
    except (ValueError, metadata.PackageNotFoundError):  # not pinned, or not here
        return False


def start_repository(folder: Path) -> None:
    """What a coding assistant is started in."""
    folder.mkdir(exist_ok=True)
    (folder.parent / "home").mkdir(exist_ok=True)
    (folder / "greet.py").write_text(GREETER)
    (folder / ".gitignore").write_text(".*\nnode_modules\n")
    git = ["git", "-c", "user.name=nobody", "-c", "user.email=nobody@example.com"]
    for command in (["init", "-q"], ["add", "greet.py"], ["commit", "-qm", "start"]):
        subprocess.run([*git, *command], cwd=folder, check=True)


def escape(prompt: str, language: str) -> str:
    """As it stands between double quotes."""
    if language == "bash":
        return re.sub(r'([\\"$`])', r"\\\1", prompt)
    return json.dumps(prompt)[1:-1]


def run(language: str, text: str, folder: Path, environment: dict[str, str], programs: Path) -> str:
    """What it said; fails the test if it failed."""
    if interactive := INTERACTIVE.search(text):
        return asyncio.run(converse(text, interactive["typed"], folder, environment))
    if language == "bash":
        command = ["bash", "-euo", "pipefail", "-c", text]
    else:
        command = write_program(language, text, folder, programs)
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_program(language: str, text: str, folder: Path, programs: Path) -> list[str]:
    """Write a program into the folder, and return the command that runs it."""
    suffix = {"js": "mjs", "python": "py", "go": "go", "java": "java"}[language]
    (folder / f"snippet.{suffix}").write_text(text)
    if language == "js":
        if not (folder / "node_modules").exists() and programs.name == ".bin":
            (folder / "node_modules").symlink_to(programs.parent)
        return ["node", "snippet.mjs"]
    if language == "python":
        return [str(programs / "python"), "snippet.py"]
    if language == "java":
        return ["java", "snippet.java"]
    return [
        "env",
        f"GOCACHE={programs.parent / 'compiled'}",
        "GOTOOLCHAIN=local",
        "go",
        "run",
        "snippet.go",
    ]


async def converse(script: str, typed: str, folder: Path, environment: dict[str, str]) -> str:
    """Run a script in a pseudo-terminal, type into its program, and return what the screen shows
    once it answered.
    """
    trusted = {str(folder): {"hasTrustDialogAccepted": True}}
    first_start = {"hasCompletedOnboarding": True, "theme": "dark", "projects": trusted}
    (folder.parent / "home/.claude.json").write_text(json.dumps(first_start))
    script = f"cd {folder}\n{script}"
    async with in_terminal(
        "bash", "-euo", "pipefail", "-c", script, env=environment, deadline=90
    ) as terminal:
        await terminal.until("❯")
        terminal.press(typed)
        shown = await terminal.until(typed)
        terminal.press("\r")
        await terminal.until("●Ahoy!", since=shown)
        return terminal.text


def test_the_table_is_that_of_these_pages_and_pins(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--write-clients-table", default=False):
        pytest.skip("it is written when this run has passed")
    assert undated(TABLE.read_text()) == undated(render_table()), "run `make conformance`"
