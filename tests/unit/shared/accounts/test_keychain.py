"""The macOS keychain, asked through a stand-in for its program."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable

import pytest

from shared.accounts.keychain import Keychain


def raising(error: Exception) -> Callable[[], str]:
    def ask() -> str:
        raise error

    return ask


async def test_its_login_is_read_but_never_written() -> None:
    keychain = Keychain(lambda: '{"claudeAiOauth":{"accessToken":"a"}}\n')
    assert keychain.read() is None
    await keychain.look()
    assert keychain.read() == {"claudeAiOauth": {"accessToken": "a"}}
    assert "only Claude Code writes" in keychain.obstacle()


async def test_it_is_asked_once_by_many_at_once() -> None:
    asked = []

    def ask() -> str:
        asked.append(1)
        return "{}"

    keychain = Keychain(ask)
    await asyncio.gather(*(keychain.look() for _ in range(10)))
    assert len(asked) == 1
    assert keychain.read() == {}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (subprocess.TimeoutExpired("security", 5), "security unlock-keychain"),
        (
            subprocess.CalledProcessError(44, "security", stderr="could not be found"),
            "could not be found",
        ),
        (FileNotFoundError("security"), "cannot be read"),
        (ValueError("not JSON"), "cannot be read"),
    ],
)
async def test_why_it_gives_nothing_is_told(error: Exception, words: str) -> None:
    keychain = Keychain(raising(error))
    await keychain.look()
    assert keychain.read(fresh=True) is None
    assert words in keychain.problem
