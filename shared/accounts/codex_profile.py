"""The knowledge of the owner's own Codex program: its models, their limits and efforts, the
instructions for each model.

The program is asked once per version (`codex debug models --bundled`: it prints what it was built
with, offline, for nobody in particular), in a home made for the occasion; the answer is kept on
disk. Nothing here runs before it is needed, costs a turn or reads a login, and whoever has no such
program goes without.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shared.runtime.files import replace_private
from shared.runtime.log import get_log
from shared.settings.providers import CodexSettings

TIMEOUT_SECONDS = 10.0  # both commands take a tenth of a second
CLIENT_VERSION = "0.169.0"
"""The version of Codex whose interface was measured: the backend lists models for a version.
Used where there is no Codex to say its own."""
NEUTRAL_INSTRUCTIONS = (
    "You are a careful, capable assistant. Follow the user's instructions and answer to the point."
)
"""In place of Codex's own instructions where there is no Codex."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Profile:
    """The facts read from an installation of Codex.

    `models` are the entries of the program's catalogue; `program` tells one installation from the
    next.
    """

    version: str
    models: list[Json] = field(default_factory=list)
    program: list[Any] = field(default_factory=list)
    learned_at: float = 0.0

    def instructions(self, model: str) -> str:
        """Return Codex's instructions for `model`, else for the model offered first by Codex."""
        offered = sorted(
            self.models, key=lambda entry: (entry.get("slug") != model, entry.get("priority", 0))
        )
        return next(
            (str(text) for entry in offered if (text := entry.get("base_instructions"))),
            NEUTRAL_INSTRUCTIONS,
        )


def cache_file(environ: Mapping[str, str] = os.environ) -> Path:
    cache = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    return Path(cache) / "ccproxy/codex_profile.json"


def read_cache(path: Path) -> Profile | None:
    """Return the profile learned before, or None for a missing or unreadable file."""
    try:
        shape = json.loads(path.read_bytes())
        return Profile(
            str(shape["version"]),
            list(shape["models"]),
            list(shape["program"]),
            shape["learned_at"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_cache(path: Path, profile: Profile) -> None:
    """Store `profile` for the next start of any process."""
    # A disk we may not write to costs a tenth of a second at the next start
    with contextlib.suppress(OSError):
        # Not durable: a profile that is lost is learned again.
        replace_private(path, json.dumps(asdict(profile)), durable=False)


class CodexProfile:
    """The profile in this process: looked up at the first use, then answered from memory."""

    def __init__(
        self,
        settings: CodexSettings,
        environ: Mapping[str, str] = os.environ,
        *,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._program = settings.cli_path or shutil.which("codex", path=environ.get("PATH"))
        self._cache = cache_file(environ)
        self._timeout = timeout
        self._search_path = environ.get("PATH", "")
        self._learning: asyncio.Task[Profile | None] | None = None

    async def get(self) -> Profile | None:
        """Return the profile, or None. A cancelled caller does not disturb other
        waiting callers.
        """
        if self._learning is None:
            self._learning = asyncio.create_task(self._learn())
        # Shielded, because several callers wait for the same task.
        return await asyncio.shield(self._learning)

    def close(self) -> None:
        if self._learning is not None:
            self._learning.cancel()

    async def _learn(self) -> Profile | None:
        known = read_cache(self._cache)
        if self._program is None:
            return None
        try:
            installed = identity(Path(self._program))
            # From cheap to dear: the file's identity costs a stat, the version starts the program,
            # and the models are printed only by a version not known yet.
            if known is not None and known.program == installed:
                return known
            version = (await self._ask("--version")).decode().split()[-1]
            models = (
                known.models
                if known is not None and known.version == version
                else await self._models()
            )
        except (OSError, ValueError, LookupError, TimeoutError) as error:
            get_log().warning(
                "codex_not_understood", program=str(self._program), reason=repr(error)
            )
            return None
        learned = Profile(version, models, installed, time.time())
        write_cache(self._cache, learned)
        return learned

    async def _models(self) -> list[Json]:
        models = json.loads(await self._ask("debug", "models", "--bundled"))["models"]
        return [entry for entry in models if isinstance(entry, dict) and entry.get("slug")]

    async def _ask(self, *arguments: str) -> bytes:
        """Return the output of the program. Raises OSError or TimeoutError; the program never
        outlives the call.
        """
        with tempfile.TemporaryDirectory(prefix="ccproxy-codex-") as home:
            environment = {"PATH": self._search_path, "HOME": home, "CODEX_HOME": home}
            process = await asyncio.create_subprocess_exec(
                str(self._program),
                *arguments,
                cwd=home,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                printed, _ = await asyncio.wait_for(process.communicate(), self._timeout)
            finally:
                # The program must be gone before its home is removed around it.
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode:
            raise OSError(f"`codex {' '.join(arguments)}` ended with {process.returncode}")
        return printed


def identity(program: Path) -> list[Any]:
    """Return values that change with every release of `program`, such as the inode and the change
    time of the inode.

    Package managers keep dates and even sizes of a file from release to release, but never the
    inode and its change time.
    """
    found = program.stat()
    return [str(program), found.st_ino, found.st_ctime_ns, found.st_size]
