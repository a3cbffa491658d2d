"""The driver of the SDK: one way in for two packages, and the search for the program both of them
drive.

`claude-code-sdk` is frozen: it dies of messages it does not know, damages lines over 64 KiB, and
must be opened and closed by the same task. Its successor `claude-agent-sdk` does not, and is taken
when it is installed. Both offer `query(prompt=lines, options=…, transport=…)`; given our own
transport and one task for its whole life, neither fault is met, and the rest of the worker cannot
tell them apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sdk_worker.asking import HOOKS, SERVER, Asker
from sdk_worker.claude.program import Line, Program
from sdk_worker.custom_tools import SERVER_TERMS, CustomTools
from shared.bus.channels import CUSTOM_TOOLS_SERVER, CustomCallNote, PermissionNote, Turn
from shared.runtime.errors import NoWorker, UpstreamError

# The first release that takes `client_composed` lines as they are. Before it, `@/path` in a prompt
# is read and sent.
OLDEST_VERSION = (2, 1, 248)
VERSION_SECONDS = 30.0

INSTALL = (
    "Install it with `npm install -g @anthropic-ai/claude-code`, or install CCProxy with its "
    "extra `bundled-cli`, or name the program in CLAUDE__CLI_PATH."
)


@dataclass(frozen=True, slots=True)
class Driver:
    """One of the two SDKs. The package takes half a second and 16 MB, so the first conversation
    imports the package.
    """

    name: str
    package: str
    options_class: str

    @property
    def is_installed(self) -> bool:
        return find_spec(self.package) is not None

    def load(self) -> None:
        """Import the package. A thread may do so while `claude` starts."""
        import_module(self.package)

    def query(self, prompt: AsyncIterator[Line], transport: Program) -> AsyncIterator[Any]:
        """Begin a conversation with the program behind `transport`."""
        package = import_module(self.package)
        options = getattr(package, self.options_class)()
        replies: AsyncIterator[Any] = package.query(
            prompt=prompt, options=options, transport=transport
        )
        return replies


# Installed by the extra `bundled-cli`.
AGENT_SDK = Driver("claude-agent-sdk", "claude_agent_sdk", "ClaudeAgentOptions")
CODE_SDK = Driver("claude-code-sdk", "claude_code_sdk", "ClaudeCodeOptions")


def drivers() -> list[Driver]:
    """Return the installed SDKs, the preferred SDK first."""
    return [driver for driver in (AGENT_SDK, CODE_SDK) if driver.is_installed]


def find_program(configured: Path | None) -> Path | None:
    """Return CLAUDE__CLI_PATH, else `claude` on PATH, else the program that `claude-agent-sdk`
    brings.
    """
    if configured is not None:
        found = shutil.which(configured.expanduser())
        return Path(found) if found else None
    if on_path := shutil.which("claude"):
        return Path(on_path)
    package = find_spec(AGENT_SDK.package)
    if package is None or package.origin is None:
        return None
    bundled = Path(package.origin).parent / "_bundled" / "claude"
    return bundled if os.access(bundled, os.X_OK) else None


class ProgramFile:
    """The path of `claude`, looked up at every use, so an installation needs no restart. The
    version is asked once.
    """

    def __init__(self, configured: Path | None) -> None:
        self._configured = configured
        self._known: dict[tuple[Path, float], str] = {}

    async def path(self) -> Path:
        """Return the path of the program.

        Raises NoWorker, with the step to take, for a missing program and for a version too old to
        be safe.
        """
        found = find_program(self._configured)
        if found is None:
            where = (
                f"{self._configured} is not a program"
                if self._configured
                else "The claude program was not found"
            )
            raise NoWorker(f"{where}. {INSTALL}")
        version = await self._version(found)
        if tuple(int(part) for part in version.split(".")) < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise NoWorker(
                f"{found} is version {version}; /sdk needs {oldest} or newer. Update it: `claude "
                "update`."
            )
        return found

    async def _version(self, path: Path) -> str:
        # An update in place keeps the path and changes the time: then the version is asked again.
        try:
            key = (path, os.stat(path).st_mtime)
        except OSError as error:  # an update may remove the file at any moment
            raise NoWorker(f"{path} cannot be read: {error}. {INSTALL}") from error
        if key not in self._known:
            self._known[key] = await ask_version(path)
        return self._known[key]

    async def describe(self) -> dict[str, Any]:
        """Return the program and its version, or the problem with the program, for `/health`."""
        try:
            path = await self.path()
            version = await self._version(path)
        except NoWorker as error:
            return {"program": None, "problem": error.message}
        return {"program": str(path), "version": version, "problem": None}


async def ask_version(path: Path) -> str:
    """`2.1.330`. Raises NoWorker when the file does not answer like Claude Code."""
    try:
        process = await asyncio.create_subprocess_exec(
            path, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(VERSION_SECONDS):
                said, _ = await process.communicate()
        finally:
            # After a timeout, and also after a cancellation: a program that hangs at `--version`
            # would stay behind as a child of the worker.
            if process.returncode is None:
                process.kill()
                await process.wait()
    except (OSError, TimeoutError) as error:
        raise NoWorker(f"{path} cannot be run: {error!r}. {INSTALL}") from error
    if match := re.match(rb"(\d+\.\d+\.\d+)", said):
        return match[1].decode()
    raise NoWorker(
        f"{path} does not look like Claude Code: it calls its version {said[:80]!r}. {INSTALL}"
    )


class Conversation:
    """The SDK's client for a program. A single task of the conversation opens and closes the
    client, for every caller.
    """

    def __init__(
        self,
        driver: Driver,
        program: Program,
        asker: Asker | None = None,
        custom_tools: CustomTools | None = None,
    ) -> None:
        self.program = program
        self.asker = asker  # None: it has no tools of its own that could act, or asks nobody
        self.custom_tools = custom_tools  # None: its turns belong to no session with such tools
        self._driver = driver
        self._prompt: asyncio.Queue[Line] = asyncio.Queue()
        self._owner: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return self.program.alive

    @property
    def asks_person(self) -> bool:
        """Return True while a permission request of the program is open, or a call of a custom
        tool waits for its client.
        """
        asks = self.asker is not None and self.asker.is_asking
        return asks or (self.custom_tools is not None and self.custom_tools.is_waiting)

    async def begun(self) -> None:
        """Return once the program answers and knows where to ask for permission. Raises
        UpstreamError.
        """
        # The handlers are in place before the program hears of the servers: the program talks to a
        # new server at once, and a message without a handler would go to the SDK.
        if self.asker is not None:
            self.program.on_mcp[SERVER] = self.asker.answer
            self.program.on_hook = self.asker.before_tool
        if self.custom_tools is not None:
            self.program.on_mcp[CUSTOM_TOOLS_SERVER] = self.custom_tools.answer
        if not self.program.on_mcp:
            # Any cheap question proves that the program reads its input. A started process alone
            # proves nothing.
            await self.program.control("mcp_status")
            return
        servers = {name: {"type": "sdk", "name": name} for name in self.program.on_mcp}
        if self.custom_tools is not None:
            servers[CUSTOM_TOOLS_SERVER] |= SERVER_TERMS
        await self.program.control("mcp_set_servers", servers=servers)

    async def open(self, initialize: Line) -> None:
        """Shake hands. `initialize` are fields of that request the SDKs have no option for, such as
        `systemPrompt`.

        Raises UpstreamError for a program that would go on when the hook before its tools fails.
        """
        if self.asker is not None:
            initialize = initialize | {"hooks": HOOKS}
        self.program.initialize = initialize
        # `claude-code-sdk` must be closed by the task that opened it, and callers come and go: one
        # task of the conversation does both.
        self._owner = asyncio.create_task(self._own())
        about = await self.program.initialized
        # An older program would accept the hook, and run a tool although the hook failed. Such a
        # program gets no turn.
        if self.asker is not None and not (
            about.get("hooks_applied") and about.get("hook_on_failure_supported")
        ):
            raise UpstreamError(
                "This version of Claude Code cannot hold its tools until they are allowed. Update "
                "it: `claude update`."
            )

    @contextlib.contextmanager
    def on_behalf(
        self, turn: Turn, note: Callable[[PermissionNote | CustomCallNote], None]
    ) -> Iterator[None]:
        """Attribute the program's permission requests and its calls of custom tools to `turn` while
        the context is open; `note` hears of them.
        """
        with contextlib.ExitStack() as stack:
            if self.asker is not None:
                stack.enter_context(self.asker.on_behalf(turn, note))
            if self.custom_tools is not None:
                stack.enter_context(self.custom_tools.on_behalf(turn, note))
            yield

    def say(self, line: Line) -> None:
        """Send the program one line. `client_composed` keeps `@file` and `/command` in the line
        plain text.
        """
        self._prompt.put_nowait({**line, "client_composed": True})

    async def close(self) -> None:
        """End the program, and the task that owns the SDK's client."""
        # The program ends first: its end also ends the SDK's reading, so that the cancellation
        # meets a client with nothing left to do.
        await self.program.stop()
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.gather(self._owner, return_exceptions=True)

    async def _own(self) -> None:
        try:
            # The import takes half a second, and must not hold up the worker's other conversations.
            await asyncio.to_thread(self._driver.load)
            replies = self._driver.query(self._lines(), self.program)
            # The SDK is given control lines only, and keeps the lines to itself.
            async for _ in replies:
                pass
        finally:
            # Without the SDK no task answers the program's control lines any more, so every waiting
            # task must learn of the end now.
            self.program.hang_up()

    async def _lines(self) -> AsyncIterator[Line]:
        while True:
            yield await self._prompt.get()
