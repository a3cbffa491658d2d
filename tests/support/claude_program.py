"""The real `claude` program, printing, in a home of its own."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.simulator_fixture import API_KEY

QUIET = {
    "DISABLE_TELEMETRY": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "1",
}


def installed_claude() -> Path:
    """The program in the package of the SDK; skips the test without the package."""
    spec = importlib.util.find_spec("claude_agent_sdk")
    if spec is None or spec.origin is None:
        pytest.skip("the claude program is not installed")
    return Path(spec.origin).parent / "_bundled/claude"


class Claude:
    """`claude -p` in a home of its own."""

    def __init__(self, program: Path, home: Path, url: str, **environment: str) -> None:
        self._program = program
        self._home = home
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ANTHROPIC_BASE_URL": url,
            **QUIET,
            **environment,
        }

    async def ask(
        self, prompt: str, *options: str, login: dict[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """The lines of its JSON output."""
        command = [
            self._program,
            "-p",
            prompt,
            "--output-format",
            "stream-json",
            "--verbose",
            *options,
        ]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self._home,
            env=self._environment | (login or {"ANTHROPIC_API_KEY": API_KEY}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=2**24,
        )
        output, _ = await process.communicate()
        return [json.loads(line) for line in output.splitlines()]
