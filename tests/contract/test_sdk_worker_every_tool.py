"""Every tool that the real `claude` offers is decided by the permission service, in every
permission mode.

The table lists the tools of the program. A tool of a new version is in no row and fails the test
until it is listed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from sdk_worker.claude.driver import drivers
from shared.bus.channels import PermissionDecision, PermissionRequest
from tests.contract.test_sdk_worker_asking import OWNERS_SERVER
from tests.support.matrix import matrix
from tests.support.sdk_stack import running_stack, worker_settings

pytestmark = pytest.mark.claude

QUESTION = {
    "question": "Which?",
    "header": "H",
    "multiSelect": False,
    "options": [{"label": "a", "description": "a"}, {"label": "b", "description": "b"}],
}
# Each tool with an input that Claude Code accepts, so that the call would run.
CALLS: dict[str, dict[str, Any]] = {
    "AskUserQuestion": {"questions": [QUESTION]},
    "Bash": {"command": "touch made-by-bash", "run_in_background": True, "description": "x"},
    "CronCreate": {"cron": "0 0 1 1 *", "prompt": "x", "recurring": False},
    "CronList": {},
    "EnterPlanMode": {},
    "EnterWorktree": {"name": "tree"},
    "Monitor": {
        "command": "touch made-by-monitor",
        "description": "x",
        "timeout_ms": 1000,
        "persistent": False,
    },
    "Read": {"file_path": "{cwd}/file"},
    "ReportFindings": {"findings": [], "level": "low"},
    "ScheduleWakeup": {"delaySeconds": 3600, "reason": "x", "prompt": "y"},
    "Skill": {"skill": "simplify"},
    "TaskCreate": {"subject": "x", "description": "y"},
    "TaskList": {},
    "WebFetch": {"url": "http://127.0.0.1:1/", "prompt": "x"},
    "WebSearch": {"query": "abc"},
    "Workflow": {"script": "export const meta={name:'x',description:'y',phases:[]};"},
    "Write": {"file_path": "{cwd}/made-by-write", "content": "x"},
    "mcp__owners__look": {},
}
# Claude Code refuses these before they run, for want of what they are about: an id, a worktree, a
# plan, a read file.
NOT_TRIED = {
    "CronDelete": "no job has an id",
    "Edit": "the file has to be read first; tried in a test of its own below",
    "ExitPlanMode": "only in plan mode",
    "ExitWorktree": "no worktree is open",
    "NotebookEdit": "the notebook has to be read first; tried in a test of its own below",
    "Task": "the model is offered it as Agent, which has a test of its own below",
    "TaskGet": "no task has an id",
    "TaskUpdate": "no task has an id",
    "TaskStop": "no task has an id",
    "ToolSearch": "switched off, so that every tool is offered at once",
}
# The mode that would ask nobody stands first, then the usual one.
MODES = ("bypassPermissions", "default", "acceptEdits", "plan")


class Service:
    """Denies everything, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[PermissionRequest] = []

    async def ask(self, request: PermissionRequest) -> PermissionDecision:
        self.asked.append(request)
        return PermissionDecision(request.request_id, "denied", message="no")


def settings_for(simulator_url: str, folder: Path, mode: str) -> Any:
    (folder / "server.py").write_text(OWNERS_SERVER)
    servers = {
        "mcpServers": {"owners": {"command": sys.executable, "args": [str(folder / "server.py")]}}
    }
    work = folder / "work"
    work.mkdir()
    (work / "file").write_text("old")
    settings = worker_settings(simulator_url, work, pool_size=0)
    update = {"permission_mode": mode, "mcp_config": orjson.dumps(servers).decode()}
    options = settings.claude.code_options.model_copy(update=update)
    claude = settings.claude.model_copy(update={"code_options": options})
    return settings.model_copy(update={"claude": claude})


@pytest.mark.parametrize("mode", matrix(MODES, first=2))
async def test_every_tool_reaches_the_service_and_runs_only_when_allowed(
    mode: str, simulator_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENABLE_TOOL_SEARCH", "false")
    monkeypatch.setenv(
        "IS_SANDBOX", "1"
    )  # Claude Code refuses bypassPermissions for root elsewhere
    service = Service()
    settings = settings_for(simulator_url, tmp_path, mode)
    work = settings.claude.code_options.cwd
    calls = "".join(f"[[tool:{name} {json.dumps(given)}]]" for name, given in CALLS.items())
    async with running_stack(settings, drivers()[0], service.ask) as stack:
        turn = await stack.answer(calls.replace("{cwd}", str(work)), mode="forward")
    [about] = [
        block["data"] for block in turn.message["content"] if block["type"] == "system_message"
    ]
    offered = set(about["tools"])
    assert offered - CALLS.keys() - NOT_TRIED.keys() - {"ListAgents", "SendMessage"} == set()
    assert {asked.tool_name for asked in service.asked} == offered & CALLS.keys()
    assert len(service.asked) == len(offered & CALLS.keys())
    assert sorted(path.name for path in work.iterdir()) == ["file"]
    assert (work / "file").read_text() == "old"


class Reader(Service):
    """Allows reading and denies everything else."""

    async def ask(self, request: PermissionRequest) -> PermissionDecision:
        self.asked.append(request)
        allowed = request.tool_name == "Read"
        return PermissionDecision(
            request.request_id, "allowed" if allowed else "denied", message="no"
        )


NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": "a",
            "source": "1",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.mark.long
@pytest.mark.parametrize("mode", matrix(MODES))
@pytest.mark.parametrize(
    ("tool", "name", "change"),
    [
        ("Edit", "file", {"file_path": "{cwd}/file", "old_string": "old", "new_string": "new"}),
        (
            "NotebookEdit",
            "book.ipynb",
            {"notebook_path": "{cwd}/book.ipynb", "cell_id": "a", "new_source": "2"},
        ),
    ],
)
async def test_a_change_of_a_file_that_was_read_reaches_the_service_and_is_not_made(
    tool: str,
    name: str,
    change: dict[str, Any],
    mode: str,
    simulator_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENABLE_TOOL_SEARCH", "false")
    monkeypatch.setenv("IS_SANDBOX", "1")
    service = Reader()
    settings = settings_for(simulator_url, tmp_path, mode)
    work = settings.claude.code_options.cwd
    (work / "book.ipynb").write_bytes(orjson.dumps(NOTEBOOK))
    before = (work / name).read_bytes()
    read = {"file_path": f"{{cwd}}/{name}"}
    calls = f"[[tool:Read {json.dumps(read)}]][[tool:{tool} {json.dumps(change)}]]"
    async with running_stack(settings, drivers()[0], service.ask) as stack:
        await stack.answer(calls.replace("{cwd}", str(work)))
    assert [asked.tool_name for asked in service.asked] == ["Read", tool]
    assert (work / name).read_bytes() == before


class Chooser(Service):
    """Allows subagents and denies commands; a command of the main agent waits until a subagent has
    asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.subagent_asked = asyncio.Event()

    async def ask(self, request: PermissionRequest) -> PermissionDecision:
        self.asked.append(request)
        if request.tool_name == "Agent":
            return PermissionDecision(request.request_id, "allowed")
        if request.agent:
            self.subagent_asked.set()
        async with asyncio.timeout(30):
            await self.subagent_asked.wait()
        return PermissionDecision(request.request_id, "denied", message="no")


@pytest.mark.long
@pytest.mark.parametrize("in_background", [False, True])
@pytest.mark.parametrize("mode", matrix(MODES))
async def test_the_tools_of_a_subagent_reach_the_service_too(
    mode: str,
    in_background: bool,
    simulator_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENABLE_TOOL_SEARCH", "false")
    monkeypatch.setenv("IS_SANDBOX", "1")
    service = Chooser()
    settings = settings_for(simulator_url, tmp_path, mode)
    work = settings.claude.code_options.cwd
    # The main agent's command keeps the turn, and with it a subagent in the background, until the
    # subagent has asked.
    prompt = (
        f"[[tool:Bash {json.dumps({'command': 'touch made-by-subagent', 'description': 'x'})}]]"
    )
    given = {"description": "x", "prompt": prompt, "subagent_type": "general-purpose"}
    calls = f"[[tool:Agent {json.dumps(given | {'run_in_background': in_background})}]]"
    calls += f"[[tool:Bash {json.dumps({'command': 'touch made-by-main', 'description': 'x'})}]]"
    async with running_stack(settings, drivers()[0], service.ask) as stack:
        await stack.answer(calls, mode="forward")
    asked = sorted((request.tool_name, request.agent) for request in service.asked)
    assert asked == [("Agent", ""), ("Bash", ""), ("Bash", "general-purpose")]
    assert sorted(path.name for path in work.iterdir()) == ["file"]
