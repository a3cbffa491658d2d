"""An agent cannot read the owner's secrets, wherever `ccproxy` was started, and deny rules bind its
tools.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy.launcher.programs import find_script
from tests.support.stack import Stack, clean_environment, simulated, until
from tests.support.trusting import trust_folder

pytestmark = [pytest.mark.long, pytest.mark.claude, pytest.mark.timeout(180)]

MODEL = "claude-sonnet-5-5"
TURN_SECONDS = 50.0
AGENT = {"authorization": "Bearer token-of-the-agent"}
OWNER = {"authorization": "Bearer SECRET-owner"}
TOKENS = [{"name": "agent", "token": "token-of-the-agent", "scopes": ["agent"]}]
# Files of the home folder with a secret in them.
LOGINS = {
    ".config/ccproxy/config.toml": '[security]\nauth_token = "SECRET-owner-as-well"\n',
    ".ssh/id_rsa": "SECRET-key",
    ".claude/.credentials.json": '{"claudeAiOauth": "SECRET-login"}',
}
TURNS_AT_ONCE = 3
Call = tuple[str, dict[str, Any]]


def run_turn(stack: Stack, calls: list[Call]) -> str:
    """Have the agent make `calls` at once; return everything that came back, the results of its
    tools included.
    """
    said = "".join(f"[[tool:{name} {json.dumps(given)}]]" for name, given in calls)
    body = {"model": MODEL, "max_tokens": 200, "messages": [{"role": "user", "content": said}]}
    reply = httpx.post(
        f"{stack.url}/sdk/v1/messages", json=body, headers=AGENT, timeout=TURN_SECONDS
    )
    assert reply.status_code == 200, reply.text
    return reply.text


def ask_owner(stack: Stack, path: str) -> Any:
    reply = httpx.get(stack.url + path, headers=OWNER, timeout=20)
    assert reply.status_code == 200, reply.text
    return reply.json()


def decisions(stack: Stack, count: int) -> list[dict[str, Any]]:
    """Return the latest `count` rows of the permission log, oldest first, once there
    are that many.
    """
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = ask_owner(stack, "/permissions/log?limit=1000")["results"]
        return len(found) >= count

    until(look, f"{count} decisions in the permission log")
    return found[:count][::-1]


@pytest.fixture
def start_in(
    _homes: Callable[[], Path], simulator_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Stack]]:
    """`start_in("folder", NAME="value")` starts a stack in that folder of a new home, and its agent
    works there too.
    """
    stacks: list[Stack] = []

    def start(name: str, **settings: str) -> Stack:
        home = _homes()
        folder = home / name
        folder.mkdir(parents=True, exist_ok=True)
        for login, text in LOGINS.items():
            (home / login).parent.mkdir(parents=True, exist_ok=True)
            (home / login).write_text(text)
        (folder / ".env").write_text("SECURITY__AUTH_TOKEN=SECRET-owner\n")
        for variable, value in clean_environment(home).items():
            monkeypatch.setenv(variable, value)
        trust_folder(folder)
        usual = simulated(simulator_url) | {
            "SECURITY__TOKENS": json.dumps(TOKENS),
            "SDK__POOL_SIZE": "0",
            "CLAUDE__CODE_OPTIONS__CWD": str(folder),
        }
        stacks.append(Stack(find_script("ccproxy"), home, usual | settings, folder))
        return stacks[-1].wait_ready()

    yield start
    for stack in stacks:
        stack.stop()


@pytest.mark.parametrize(
    "name", ["", "project", ".local/share/ccproxy"], ids=["home", "project", "data folder"]
)
def test_an_agent_cannot_read_a_secret_and_nobody_is_asked(
    start_in: Callable[..., Stack], name: str
) -> None:
    stack = start_in(name)
    targets = [stack.home / name / ".env", *(stack.home / login for login in LOGINS)]
    reads: list[Call] = [("Read", {"file_path": str(target)}) for target in [*targets, ".env"]]
    searches = [f"{program} {target}" for program in ("cat", "grep SECRET") for target in targets]
    commands: list[Call] = [("Bash", {"command": command}) for command in [*searches, "cat < .env"]]
    # Claude Code drops the commands beside one that was denied, so each has a turn of its own.
    turns = [reads, *([command] for command in commands)]
    with ThreadPoolExecutor(TURNS_AT_ONCE) as threads:
        for said in threads.map(lambda calls: run_turn(stack, calls), turns):
            assert "SECRET" not in said
    rows = decisions(stack, len(reads) + len(commands))
    assert sorted(row["tool_name"] for row in rows) == ["Bash"] * len(commands) + ["Read"] * len(
        reads
    )
    assert {(row["outcome"], row["decided_by"]) for row in rows} == {("denied", "protection")}
    shown = ask_owner(stack, "/permissions")
    assert shown["pending"] == []


@pytest.mark.parametrize("mode", ["default", "acceptEdits"])
def test_a_deny_rule_beats_the_mode_and_the_allowed_tools(
    start_in: Callable[..., Stack], mode: str
) -> None:
    stack = start_in(
        "project",
        CLAUDE__CODE_OPTIONS__PERMISSION_MODE=mode,
        CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS=json.dumps(["Read", "Bash", "Write"]),
    )
    folder = stack.home / "project"
    (folder / "notes").write_text("the-notes")
    # Each deny rule, with the tools of the three calls below that it denies.
    table: list[tuple[dict[str, str], list[str]]] = [
        ({"tool": "*"}, ["Bash", "Read", "Write"]),
        ({"tool": "Bash"}, ["Bash"]),
        ({"tool": "Read", "under": str(folder)}, ["Read"]),
    ]
    seen = 0
    for number, (rule, denied) in enumerate(table):
        added = httpx.post(
            f"{stack.url}/permissions/rules",
            json={"effect": "deny", **rule},
            headers=OWNER,
            timeout=20,
        ).json()
        made = folder / f"made{number}"
        calls: list[Call] = [
            ("Read", {"file_path": str(folder / "notes")}),
            ("Bash", {"command": f"touch {made}-by-bash"}),
            ("Write", {"file_path": f"{made}-by-write", "content": "x"}),
        ]
        said = run_turn(stack, calls)
        seen += len(calls)
        rows = decisions(stack, seen)[-len(calls) :]
        assert sorted(row["tool_name"] for row in rows if row["outcome"] == "denied") == denied
        assert {row["rule"] for row in rows if row["outcome"] == "denied"} == {added["id"]}
        assert ("the-notes" in said) == ("Read" not in denied)
        assert (folder / f"made{number}-by-bash").exists() == ("Bash" not in denied)
        assert (folder / f"made{number}-by-write").exists() == ("Write" not in denied)
        assert ask_owner(stack, "/permissions")["pending"] == []
        httpx.delete(
            f"{stack.url}/permissions/rules/{added['id']}",
            headers=OWNER | {"content-type": "application/json"},
            timeout=20,
        ).raise_for_status()
