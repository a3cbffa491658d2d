"""A program in a real pseudo-terminal of 80 columns: what it shows, and keys for it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][0-9A-B]|\r")
DEADLINE_SECONDS = 30.0


class PseudoTerminal:
    def __init__(self, master: int, process: asyncio.subprocess.Process, deadline: float) -> None:
        self.fd, self.process = master, process
        self._deadline = deadline
        self.raw = b""
        self._arrived = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the program has ended
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self.fd)
        self.raw += data
        self._arrived.set()

    @property
    def text(self) -> str:
        """Everything shown so far, without colours and cursor movements."""
        return CONTROL.sub("", self.raw.decode("utf-8", "replace"))

    async def until(self, words: str, *, since: int = 0) -> int:
        """Wait until `words` are shown; where they end in `text`."""
        try:
            async with asyncio.timeout(self._deadline):
                while (at := self.text.find(words, since)) < 0:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(
                f"{words!r} was not shown at the end of {self.text[since:][-2000:]!r}"
            ) from None
        return at + len(words)

    async def until_bytes(self, condition: Callable[[bytes], bool]) -> None:
        """Wait until everything shown so far, with colours and movements, meets `condition`."""
        try:
            async with asyncio.timeout(self._deadline):
                while not condition(self.raw):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"the end of what was shown is {self.raw[-500:]!r}") from None

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    async def end(self) -> int:
        async with asyncio.timeout(self._deadline):
            return await self.process.wait()


@asynccontextmanager
async def in_terminal(
    *command: str, env: dict[str, str], columns: int = 80, deadline: float = DEADLINE_SECONDS
) -> AsyncIterator[PseudoTerminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={"TERM": "xterm-256color", **env},
        start_new_session=True,
    )
    os.close(slave)
    terminal = PseudoTerminal(master, process, deadline)
    try:
        yield terminal
    finally:
        # The whole group: a program that was started by a wrapper would outlive the wrapper.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)
