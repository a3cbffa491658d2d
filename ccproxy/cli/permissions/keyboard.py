"""Single key presses from a terminal, and the terminal as it was afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

READ_BYTES = 4096
NAMES = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x04": "end",
}


class Keyboard:
    """The keys of a terminal. `pressed` yields the results of the reads: the name of a special key,
    a character, or a pasted text.
    """

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._pressed: asyncio.Queue[str] = asyncio.Queue()

    async def pressed(self) -> str:
        return await self._pressed.get()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Every key is ours inside, without Enter and unseen."""
        before = termios.tcgetattr(self._fd)
        try:
            self._hold()
            yield
        finally:
            self._release(before)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Inside `held`: the keys are another program's."""
        before = termios.tcgetattr(self._fd)
        # The attributes at this moment are those of `held`; the other program gets them with echo
        # and lines again.
        before[3] |= termios.ECHO | termios.ICANON
        self._release(before)
        try:
            yield
        finally:
            self._hold()

    def _hold(self) -> None:
        loop = asyncio.get_running_loop()
        self._set_modes()
        loop.add_reader(self._fd, self._read)
        # A shell gives the terminal modes of its own while the program is stopped (Ctrl-Z).
        loop.add_signal_handler(signal.SIGCONT, self._set_modes)

    def _set_modes(self) -> None:
        # Keys pressed before are thrown away: they were meant for something else.
        tty.setcbreak(self._fd, termios.TCSAFLUSH)

    def _release(self, attributes: list[Any]) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGCONT)
        loop.remove_reader(self._fd)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, attributes)

    def _read(self) -> None:
        data = os.read(self._fd, READ_BYTES)
        if not data:  # the terminal is gone
            asyncio.get_running_loop().remove_reader(self._fd)
        text = data.decode("utf-8", "ignore")
        self._pressed.put_nowait(NAMES.get(text, text) if data else "end")
