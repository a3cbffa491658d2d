"""What the owner trusts us with is nowhere to be read afterwards: not in what was said, shown, or
written to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import pytest

from ccproxy.launcher.programs import find_script
from tests.support.processes import command_line, process_name
from tests.support.stack import Stack, environment_of, simulated, stacks

SECRETS = {
    "SECURITY__AUTH_TOKEN": "tok-5e3c7a-owner-of-this-server",
    "CLAUDE__API_KEY": "sk-ant-7d1f-owners-own-key-for-claude",
    "CODEX__API_KEY": "sk-proj-91ab-owners-own-key-for-openai",
}
PASSED_BY_CALLER = "sk-callers-own-secret-3b77"
SHOWN = (
    "/health",
    "/metrics",
    "/api/status",
    "/sdk/status",
    "/openapi.json",
    "/logs/query",
    "/usage",
    "/nowhere",
)
BODY = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 32,
    "messages": [{"role": "user", "content": "hi"}],
}


@dataclass(frozen=True, slots=True)
class Traces:
    """What a used stack leaves to be read: texts by where they stand, and the environments of its
    programs.
    """

    texts: dict[str, bytes]
    environments: list[str]


@pytest.fixture(scope="module")
def traces(_homes: Callable[[], Path], simulator_url: str) -> Iterator[Traces]:
    settings = simulated(simulator_url) | {"SERVER__LOG_LEVEL": "DEBUG"} | SECRETS
    for start in stacks(find_script("ccproxy"), _homes, settings):
        stack = start().wait_ready()
        answered = use_everything(stack)
        programs = [process for process in stack.processes() if "claude" in process_name(process)]
        environments = [
            orjson.dumps(found).decode()
            for program in programs
            if (found := environment_of(program))
        ]
        commands = command_lines(stack)
        stack.stop()
        said = {
            "answers": answered.encode(),
            "commands": commands.encode(),
            "log": stack.logs.encode(),
        }
        yield Traces(said | written(stack), environments)


def use_everything(stack: Stack) -> str:
    """Requests that work and requests that fail in every way; all that was answered, as
    one text.
    """
    key = {"x-api-key": SECRETS["SECURITY__AUTH_TOKEN"]}
    answers = []
    with httpx.Client(base_url=stack.url, timeout=60, trust_env=False) as client:
        answers += [client.get(path, headers=key) for path in SHOWN]
        answers += [
            client.post(path, json=BODY | {"model": model}, headers=key)
            for model in (
                "claude-sonnet-5-5",
                "claude-sim-401",
                "claude-sim-cut-1",
                "claude-sim-500",
            )
            for path in ("/api/v1/messages", "/api/v1/chat/completions", "/sdk/v1/messages")
        ]
        answers.append(
            client.post("/api/v1/messages", json=BODY, headers={"x-api-key": PASSED_BY_CALLER})
        )
        answers.append(
            client.post(
                "/api/v1/messages",
                json=BODY,
                headers={"authorization": f"Bearer {PASSED_BY_CALLER}"},
            )
        )
        answers.append(
            client.post(
                "/api/v1/messages", content=b"{", headers=key | {"content-type": "application/json"}
            )
        )
        answers.append(client.get("/logs/query?limit=1000", headers=key))
    assert {200, 401, 404} <= {answer.status_code for answer in answers}
    return "\n".join(answer.text + str(answer.headers) for answer in answers)


def written(stack: Stack) -> dict[str, bytes]:
    """Every file below the stack's home: run directory, logs, Redis' journal, the database."""
    files = [
        path for path in Path(stack.home).rglob("*") if path.is_file() and not path.is_symlink()
    ]
    return {str(path): path.read_bytes() for path in files}


def command_lines(stack: Stack) -> str:
    return "\n".join(" ".join(command_line(process)) for process in stack.processes())


def test_no_secret_is_left_anywhere(traces: Traces) -> None:
    assert len(traces.texts) > 3
    for secret in (*SECRETS.values(), PASSED_BY_CALLER):
        found = [where for where, text in traces.texts.items() if secret.encode() in text]
        assert not found, f"{secret} stands in {found}"


@pytest.mark.long
def test_no_environment_of_a_program_we_start_for_the_owner_holds_more_than_it_needs(
    traces: Traces,
) -> None:
    """`claude` runs the owner's tools: it may have the key for Claude, and nothing that opens this
    server.
    """
    assert traces.environments
    for environment in traces.environments:
        assert SECRETS["SECURITY__AUTH_TOKEN"] not in environment
        assert SECRETS["CODEX__API_KEY"] not in environment
        assert "SUPERVISOR_PASSWORD" not in environment
