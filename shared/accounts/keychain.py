"""Claude Code's login in the macOS keychain, read through the `security` program; only Claude Code
writes it.

It stands last among the login files. The program is asked seldom, off the event loop, and with a
deadline: a locked keychain (over SSH, say) asks its owner on a screen that nobody sees.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.accounts.store import CredentialFile

SERVICE = "Claude Code-credentials"
LOOK_AGAIN_SECONDS = 30.0
DEADLINE_SECONDS = 5.0

Ask = Callable[[], str]


def ask_security() -> str:
    """The item's secret. Raises OSError or subprocess.SubprocessError."""
    command = ["/usr/bin/security", "find-generic-password", "-s", SERVICE, "-w"]
    found = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=True
    )
    return found.stdout


class Keychain(CredentialFile):
    """The macOS keychain in the role of a login file: `look` asks the keychain, `read` returns the
    answer.
    """

    def __init__(self, ask: Ask = ask_security) -> None:
        super().__init__(Path(f"keychain:{SERVICE}"))
        self._ask = ask
        self._text = ""
        self._look_at = float("-inf")
        self._looking = asyncio.Lock()
        self.problem = "was not asked yet"

    async def look(self) -> None:
        """Ask the keychain, at most once in half a minute. Concurrent callers wait for the same
        answer.
        """
        async with self._looking:
            if time.monotonic() >= self._look_at:
                await self._question()
                self._look_at = time.monotonic() + LOOK_AGAIN_SECONDS

    async def _question(self) -> None:
        try:
            text = await asyncio.to_thread(self._ask)
            content: Any = json.loads(text)
        except subprocess.TimeoutExpired:
            self._forget("is locked: unlock it with `security unlock-keychain`")
        except subprocess.CalledProcessError as error:
            self._forget(f"gives nothing: {(error.stderr or '').strip() or 'no such item'}")
        except (OSError, ValueError) as error:
            self._forget(f"cannot be read: {error}")
        else:
            if text != self._text:
                self._content = content if isinstance(content, dict) else None
                self.changed_at = time.time()
            self._text = text

    def read(self, *, fresh: bool = False) -> dict[str, Any] | None:
        del fresh
        return self._content

    def obstacle(self) -> str:
        return "it is in the keychain, which only Claude Code writes; run `claude` once"

    def _forget(self, problem: str) -> None:
        super()._forget(problem)
        self._text = ""
