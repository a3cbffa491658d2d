"""Every program in examples/, run as its reader would run it."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.clients.conftest import TOKEN
from tests.clients.environments import Unreachable, programs_of, read_pins
from tests.support.simulator_fixture import GroundTruth
from tests.support.stack import Stack, clean_environment, until

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(stack: Stack, folder: Path, *command: str | Path, said: str = "") -> str:
    environment = clean_environment(folder) | {"CCPROXY_URL": stack.url, "CCPROXY_TOKEN": TOKEN}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def run(stack: Stack, tmp_path: Path):
    return partial(run_example, stack, tmp_path)


@pytest.fixture(scope="module")
def every_answer(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("doors")
    return run_example(
        stack, folder, sys.executable, EXAMPLES / "every_route.py", "[[say:Ahoy!]]"
    ).splitlines()


def test_every_route_answers_in_every_format(every_answer: list[str]) -> None:
    assert len(every_answer) == 9
    assert all(answer.endswith("Ahoy!") for answer in every_answer)


@pytest.mark.timeout(240)  # two whole programs, on a machine that may be busy
def test_the_agent_reads_files_of_its_folder_only(run, tmp_path: Path) -> None:
    (tmp_path / "greet.py").write_text("def greet(): ...")
    assert "def greet" in run(
        sys.executable, EXAMPLES / "agent.py", '[[tool:read_file {"name":"greet.py"}]]'
    )
    assert "not a file" in run(
        sys.executable, EXAMPLES / "agent.py", '[[tool:read_file {"name":"/etc/passwd"}]]'
    )


def test_many_ask_at_once_and_one_leaves(run, truth: GroundTruth) -> None:
    assert run(sys.executable, EXAMPLES / "many_at_once.py").startswith("50 answers")
    until(lambda: len(truth.requests("/v1/messages")) == 51, "the one that left")


@pytest.mark.usefixtures("every_answer")
def test_the_usage_of_each_model_is_told(run) -> None:
    until(lambda: "gpt-5.5" in run(sys.executable, EXAMPLES / "usage.py"), "the records")


@pytest.mark.conformance
@pytest.mark.timeout(400)
def test_a_conversation_in_the_terminal(run, tmp_path: Path) -> None:
    try:
        packages = programs_of(read_pins("openai-js")).parent
    except Unreachable as nobody:
        pytest.skip(f"no registry answered: {nobody}")
    (tmp_path / "node_modules").symlink_to(packages)
    (tmp_path / "chat.mjs").write_text((EXAMPLES / "chat.mjs").read_text())
    assert run("node", "chat.mjs", said="hello\n[[say:Ahoy!]]\n") == "You said: hello\nAhoy!\n"


def test_each_has_its_line_in_the_readme() -> None:
    told = (EXAMPLES / "README.md").read_text()
    assert all(f"`{path.name}`" in told for path in EXAMPLES.iterdir() if path.name != "README.md")
