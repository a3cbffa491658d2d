from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from shared.accounts.codex_profile import (
    NEUTRAL_INSTRUCTIONS,
    CodexProfile,
    Profile,
    cache_file,
    read_cache,
)
from shared.settings.providers import CodexSettings

SCRIPT = """#!/bin/sh
echo "$@ home=$HOME codex=$CODEX_HOME secret=$OPENAI_API_KEY" >> {log}
case "$1" in
  --version) {version} ;;
  *) {models} ;;
esac
"""
MODELS = [
    {"slug": "gpt-two", "priority": 2, "base_instructions": "Be two."},
    {"slug": "gpt-one", "priority": 1, "base_instructions": "Be one."},
    {"nameless": True},
]


class Installed:
    """A made-up `codex` that notes every call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "codex"
        self.log = folder / "log"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "OPENAI_API_KEY": "sk-secret",
        }
        self.install()

    def install(self, version: str = "echo codex-cli 0.170.0", models: str = "") -> None:
        models = models or f"echo '{json.dumps({'models': MODELS})}'"
        self.program.unlink(missing_ok=True)
        self.program.write_text(SCRIPT.format(log=self.log, version=version, models=models))
        self.program.chmod(0o755)

    async def get(self) -> Profile | None:
        """As a new process would."""
        return await CodexProfile(CodexSettings(cli_path=self.program), self.environ).get()

    @property
    def calls(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.partition(" home=")[0] for line in lines]


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path)


async def test_a_program_is_asked_once_for_all_processes(installed: Installed) -> None:
    first = await installed.get()
    assert first
    assert (first.version, [model["slug"] for model in first.models]) == (
        "0.170.0",
        ["gpt-two", "gpt-one"],
    )
    assert await installed.get() == first
    assert installed.calls == ["--version", "debug models --bundled"]


async def test_the_same_version_installed_again_is_not_asked_again(installed: Installed) -> None:
    await installed.get()
    installed.install()
    profile = await installed.get()
    assert profile
    assert len(profile.models) == 2
    assert installed.calls == ["--version", "debug models --bundled", "--version"]


async def test_a_new_version_is(installed: Installed) -> None:
    await installed.get()
    installed.install("echo codex-cli 0.171.0")
    profile = await installed.get()
    assert profile
    assert profile.version == "0.171.0"
    assert installed.calls[2:] == ["--version", "debug models --bundled"]


async def test_the_program_sees_neither_the_owners_home_nor_keys(installed: Installed) -> None:
    await installed.get()
    for line in installed.log.read_text().splitlines():
        home = line.partition(" home=")[2].partition(" ")[0]
        assert home != str(installed.folder)
        assert not os.path.exists(home)  # noqa: ASYNC240 - nothing else runs
        assert line.endswith(f"codex={home} secret=")


@pytest.mark.parametrize(
    ("version", "models"),
    [
        ("exit 3", ""),
        ("echo", ""),
        ("echo codex-cli 0.170.0", "exit 2"),
        ("echo codex-cli 0.170.0", "echo not json"),
        ("echo codex-cli 0.170.0", "echo '{}'"),
    ],
)
async def test_a_program_that_is_not_understood_is_none(
    installed: Installed, version: str, models: str
) -> None:
    installed.install(version, models)
    assert await installed.get() is None
    assert read_cache(cache_file(installed.environ)) is None


async def test_a_program_that_hangs_is_ended(installed: Installed) -> None:
    installed.install("exec sleep 600")
    assert (
        await CodexProfile(
            CodexSettings(cli_path=installed.program), installed.environ, timeout=0.2
        ).get()
        is None
    )


async def test_no_program_is_no_profile(tmp_path: Path) -> None:
    assert (
        await CodexProfile(CodexSettings(), {"PATH": str(tmp_path), "HOME": str(tmp_path)}).get()
        is None
    )
    missing = CodexSettings(cli_path=tmp_path / "nothing")
    assert await CodexProfile(missing, {"HOME": str(tmp_path)}).get() is None


async def test_a_cache_that_is_no_profile_is_written_anew(installed: Installed) -> None:
    path = cache_file(installed.environ)
    path.parent.mkdir(parents=True)
    path.write_text("[]")
    assert await installed.get() == read_cache(path)


async def test_a_disk_that_cannot_be_written_costs_nothing_but_time(installed: Installed) -> None:
    (installed.folder / ".cache").write_text("in the way")
    assert await installed.get()


def test_instructions_are_the_models_own_else_the_first_ones() -> None:
    profile = Profile("1", MODELS)
    assert profile.instructions("gpt-two") == "Be two."
    assert profile.instructions("gpt-unknown") == "Be one."
    assert Profile("1").instructions("gpt-one") == NEUTRAL_INSTRUCTIONS
