"""The real `claude` and `codex` ask through their hooks: rules, a person while the owner is away, and
their own terminals otherwise. No failure allows anything.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.agent_hooks import HookAccess, add_hooks, claude_hooks, codex_hooks
from tests.conftest import RedisServer
from tests.contract.test_permission_process import Start, answered, kill, start
from tests.contract.test_simulator_claude import program
from tests.support.analytics_process import eventually
from tests.support.claude_program import QUIET, Claude
from tests.support.codex_program import codex_environment, find_codex
from tests.support.permission_stack import Front, running_desk, running_front
from tests.support.pseudo_terminal import PseudoTerminal, in_terminal
from tests.support.simulator_fixture import API_KEY, OPENAI_KEY

__all__ = ["program", "start"]

pytestmark = [pytest.mark.claude, pytest.mark.timeout(400)]

CALL = 'run it [[tool:Bash {"command":"touch made.txt","description":"make it"}]]'
ESCALATED = (
    '[[tool:exec_command {"cmd":"touch made.txt","sandbox_permissions":"require_escalated",'
    '"justification":"need it"}]]'
)
CCPROXY = Path(sys.executable).with_name("ccproxy")


@pytest.fixture
async def front(redis_url: str) -> AsyncIterator[Front]:
    async with running_front(redis_url, server={"ping_interval_seconds": 0.5}) as front:
        yield front


@pytest.fixture
async def desk(redis_url: str, tmp_path: Path) -> AsyncIterator[None]:
    async with running_desk(redis_url, tmp_path / "rules.toml"):
        yield


async def go_away(front: Front) -> None:
    async def is_away() -> bool:
        # A permission service that is just starting is not there yet: 503.
        changed = await front.client.post("/permissions/away", json={"state": "on"})
        return changed.status_code == 200 and changed.json()["away"] is True

    await eventually(is_away)


def terminal_in(
    folder: Path, command: list[str], env: dict[str, str]
) -> AbstractAsyncContextManager[PseudoTerminal]:
    """Run `command` in a terminal whose working folder is `folder`."""
    # The terminal has no working folder of its own to give.
    line = f"cd {shlex.quote(str(folder))} && exec {shlex.join(command)}"
    return in_terminal("/bin/sh", "-c", line, env=env, deadline=60)


class HookedClaude(Claude):
    """`claude` whose settings hold our hooks."""

    def __init__(self, program: Path, home: Path, provider: str, front: Front) -> None:
        super().__init__(program, home, provider)
        self.folder = home
        self.program = program
        settings: dict[str, Any] = {}
        url = str(front.client.base_url).rstrip("/")
        add_hooks(settings, claude_hooks(HookAccess(url, "", "laptop")))
        (home / ".claude").mkdir(parents=True)
        (home / ".claude/settings.json").write_text(json.dumps(settings))

    @property
    def made(self) -> bool:
        return (self.folder / "made.txt").exists()

    async def told(self) -> str:
        """Ask for the call, and return what the model was told about it."""
        lines = await self.ask(CALL)
        (result,) = [
            part["content"]
            for line in lines
            if line["type"] == "user"
            for part in line["message"]["content"]
            if part["type"] == "tool_result"
        ]
        return str(result)

    @asynccontextmanager
    async def in_terminal(self) -> AsyncIterator[PseudoTerminal]:
        """Run the interactive program with the call as its first prompt."""
        known = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [API_KEY[-20:]], "rejected": []},
            "projects": {str(self.folder): {"hasTrustDialogAccepted": True}},
        }
        (self.folder / ".claude.json").write_text(json.dumps(known))
        env = self._environment | QUIET | {"ANTHROPIC_API_KEY": API_KEY}
        command = [str(self.program), "--permission-mode", "default", CALL]
        async with terminal_in(self.folder, command, env) as terminal:
            yield terminal


@pytest.fixture
def claude(program: Path, tmp_path: Path, simulator_url: str, front: Front) -> HookedClaude:
    return HookedClaude(program, tmp_path / "home", simulator_url, front)


@pytest.mark.long
@pytest.mark.usefixtures("desk")
async def test_claude_at_the_desk_is_left_to_itself(claude: HookedClaude) -> None:
    assert "needs approval" in await claude.told()
    assert not claude.made


@pytest.mark.long
async def test_a_rule_answers_claude_at_the_desk(
    claude: HookedClaude, redis_url: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rules]]\ntool = "Bash"\ncommand = "touch made.txt"\n')
    async with running_desk(redis_url, rules):
        await claude.told()
    assert claude.made


@pytest.mark.usefixtures("desk")
async def test_a_person_allows_denies_and_changes_the_call_of_claude(
    claude: HookedClaude, front: Front
) -> None:
    await go_away(front)
    asking = asyncio.create_task(claude.told())
    (shown,) = await front.pending(1)
    assert (shown["program"], shown["machine"]) == ("Claude Code", "laptop")
    assert shown["working_directory"] == str(claude.folder)
    await front.respond(shown["request_id"], allowed=False, message="NOT-THIS-ONE")
    assert await asking == "NOT-THIS-ONE"
    asking = asyncio.create_task(claude.told())
    (shown,) = await front.pending(1)
    changed = {"command": "touch changed.txt", "description": "make it"}
    await front.respond(shown["request_id"], updated_input=changed)
    await asking
    assert ((claude.folder / "changed.txt").exists(), claude.made) == (True, False)
    asking = asyncio.create_task(claude.told())
    (shown,) = await front.pending(1)
    await front.respond(shown["request_id"])
    await asking
    assert claude.made
    settings = json.loads((claude.folder / ".claude/settings.json").read_text())
    assert list(settings) == ["hooks"]
    assert not (claude.folder / ".claude/settings.local.json").exists()


@pytest.mark.long
async def test_nobody_in_time_allows_nothing(
    claude: HookedClaude, front: Front, redis_url: str, tmp_path: Path
) -> None:
    async with running_desk(redis_url, tmp_path / "rules.toml", timeout_seconds=0.5):
        await go_away(front)
        assert "needs approval" in await claude.told()
    assert not claude.made


@pytest.mark.long
async def test_a_gateway_that_dies_while_a_hook_waits_allows_nothing(
    program: Path, tmp_path: Path, simulator_url: str, redis_url: str
) -> None:
    async with running_desk(redis_url, tmp_path / "rules.toml"):
        async with running_front(redis_url) as front:
            claude = HookedClaude(program, tmp_path / "home", simulator_url, front)
            await go_away(front)
            asking = asyncio.create_task(claude.told())
            await front.pending(1)
        assert "needs approval" in await asking
    assert not claude.made


@pytest.mark.long
async def test_an_answer_survives_the_death_of_the_permission_service(
    claude: HookedClaude, front: Front, redis_url: str, start: Start
) -> None:
    first = await start(redis_url)
    await go_away(front)
    asking = asyncio.create_task(claude.told())
    (shown,) = await front.pending(1)
    await kill(first)
    await start(redis_url)
    await front.pending(1)
    await front.respond(shown["request_id"])
    await asking
    assert claude.made
    # The owner is still away.
    assert (await front.client.get("/permissions/away")).json()["away"] is True


@pytest.mark.long
async def test_an_answer_survives_the_death_of_redis(
    program: Path, tmp_path: Path, simulator_url: str, own_redis: RedisServer, start: Start
) -> None:
    await start(own_redis.url)
    async with running_front(own_redis.url) as front:
        claude = HookedClaude(program, tmp_path / "home", simulator_url, front)
        await go_away(front)
        asking = asyncio.create_task(claude.told())
        (shown,) = await front.pending(1)
        own_redis.kill()
        await asyncio.to_thread(own_redis.start)
        await answered(front.bus, shown["request_id"], allowed=True)
        await asking
    assert claude.made


@pytest.mark.long
@pytest.mark.usefixtures("desk")
async def test_the_terminal_of_claude_and_a_person_elsewhere_race(
    claude: HookedClaude, front: Front
) -> None:
    await go_away(front)
    async with front.watch() as watching:
        async with claude.in_terminal() as terminal:
            (asked,) = await watching.until("permission_request")
            at = await terminal.until("Yes")
            await front.respond(asked.data["request_id"])
            await terminal.until("Allowed", since=at)
            await terminal.until("hook", since=at)
            await watching.until("notice")  # the turn is done
        assert claude.made
        (claude.folder / "made.txt").unlink()
        async with claude.in_terminal() as terminal:
            await watching.until("permission_request", 2)
            await terminal.until("Yes")
            terminal.press("1")
            # The call ran, and the request is withdrawn everywhere.
            await watching.until("permission_cancelled")
        assert claude.made


@pytest.fixture(scope="session")
def codex() -> Path:
    return find_codex()


class HookedCodex:
    """The interactive `codex` with our hooks, whose provider is the simulator."""

    def __init__(self, program: Path, home: Path, provider: str, front: Front) -> None:
        self._program = program
        self.folder = home / "work"
        self._environment = codex_environment(home, f"{provider}/v1") | {
            "CCPROXY_TOKEN": OPENAI_KEY,
            "XDG_CONFIG_HOME": str(home / "config"),
        }
        self.folder.mkdir()
        config = home / "codex/config.toml"
        config.write_text(
            'approval_policy = "on-request"\n'
            + config.read_text()
            + '[notice.model_migrations]\n"gpt-5.5" = "gpt-6-sol"\n'
            + f'[projects."{self.folder}"]\ntrust_level = "trusted"\n'
        )
        hooks: dict[str, Any] = {}
        add_hooks(hooks, codex_hooks(CCPROXY))
        (home / "codex/hooks.json").write_text(json.dumps(hooks))
        access = home / "config/ccproxy/hooks/codex.json"
        access.parent.mkdir(parents=True)
        url = str(front.client.base_url).rstrip("/")
        access.write_text(json.dumps({"url": url, "token": "", "machine": "laptop"}))

    @property
    def made(self) -> bool:
        return (self.folder / "made.txt").exists()

    @asynccontextmanager
    async def in_terminal(self) -> AsyncIterator[PseudoTerminal]:
        options = ["--dangerously-bypass-hook-trust", "-m", "gpt-5.5", ESCALATED]
        command = [str(self._program), *options]
        async with terminal_in(self.folder, command, self._environment) as terminal:
            yield terminal


@pytest.fixture
def hooked_codex(codex: Path, tmp_path: Path, simulator_url: str, front: Front) -> HookedCodex:
    return HookedCodex(codex, tmp_path / "home", simulator_url, front)


@pytest.mark.long
@pytest.mark.usefixtures("desk")
async def test_codex_at_the_desk_asks_in_its_own_terminal(hooked_codex: HookedCodex) -> None:
    async with hooked_codex.in_terminal() as terminal:
        await terminal.until("tellCodexwhattodo")
    assert not hooked_codex.made


@pytest.mark.usefixtures("desk")
async def test_a_person_allows_and_denies_the_call_of_codex(
    hooked_codex: HookedCodex, front: Front
) -> None:
    await go_away(front)
    async with front.watch() as watching:
        async with hooked_codex.in_terminal() as terminal:
            (asked,) = await watching.until("permission_request")
            assert (asked.data["program"], asked.data["fixed_input"]) == ("Codex", True)
            await front.respond(asked.data["request_id"], allowed=False, message="NOT-THIS")
            await terminal.until("NOT-THIS")
            (done,) = await watching.until("notice")
            assert (done.data["kind"], done.data["program"]) == ("done", "Codex")
        assert not hooked_codex.made
        async with hooked_codex.in_terminal():
            _, asked = await watching.until("permission_request", 2)
            await front.respond(asked.data["request_id"])
            await watching.until("notice", 2)
        assert hooked_codex.made


@pytest.mark.long
@pytest.mark.usefixtures("desk")
async def test_codex_that_ends_withdraws_its_request(
    hooked_codex: HookedCodex, front: Front
) -> None:
    await go_away(front)
    async with front.watch() as watching, hooked_codex.in_terminal() as terminal:
        await watching.until("permission_request")
        terminal.press("\x1b")
        await watching.until("permission_cancelled")
    assert not hooked_codex.made
