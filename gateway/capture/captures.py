"""Capture in one gateway: what is switched on, and the way of a captured request to the store.

While nothing is switched on, a request costs one comparison. Captured requests are cleaned and
written by a task of this process, one after the other, in a thread; they wait in memory of a fixed
size, and what finds no room is cut or left out. A store that cannot be written costs captures, one
line in the log, and never a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from pathlib import Path
from typing import Any

from gateway.capture.store import CaptureStore
from gateway.capture.switch import CaptureSwitch, Kind, SwitchFile
from gateway.capture.taking import Room, Taking
from shared.bus.channels import AccessRecord
from shared.runtime.background import end_task
from shared.runtime.errors import StoreUnavailable
from shared.runtime.log import get_log

LOOK_SECONDS = 1.0  # until a gateway follows a switch that another one has set
ROOM_BYTES = 64 * 1024 * 1024  # of all bodies that are in memory for a capture
CLOSE_SECONDS = 10.0  # for what waits when the gateway stops
MOST_WAITING = 256  # captured requests that wait to be written


class Captures:
    """The captures of this process under `directory`. Open it to take and to write."""

    def __init__(
        self,
        directory: Path,
        store_bytes: int,
        body_bytes: int,
        *,
        room_bytes: int = ROOM_BYTES,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self.store = CaptureStore(directory, store_bytes)
        self.lost = 0
        self._directory = directory
        self._file = SwitchFile(directory)
        self._body_bytes = body_bytes
        self._room = Room(room_bytes)
        self._look_seconds = look_seconds
        self._switches: tuple[CaptureSwitch, ...] = ()
        self._seen: tuple[int, ...] | None = None
        self._waiting: deque[Taking] = deque()
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        self._done = 0
        self._failing: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Captures:
        await self._look()
        self._task = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)
        # What is over already is still written: a restart loses no capture.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._waiting:
                    await self._write_next()
        while self._waiting:
            self._waiting.popleft().drop()
            self._lose("stop", "the gateway stopped before they were written")

    # ---- on the way of a request ---------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        return bool(self._switches)

    def begin(self, record: AccessRecord, repeats: str = "") -> Taking | None:
        """Return the request's capture; None for a request that no switch can want. `repeats` is
        the id of the original capture when a captured request is sent again; a repeat is captured
        in any case.
        """
        now = time.time()
        possible = [
            switch
            for switch in self._switches
            # The session may be known only once the provider was asked.
            if switch.until > now
            and (switch.kind == "session" or switch.wants(record.caller, record.session_id))
        ]
        if not possible and not repeats:
            return None
        return Taking(record, self._room, self._body_bytes, repeats=repeats)

    def end(self, taking: Taking) -> None:
        """Hand an ended request to the store, if a switch wants it."""
        taking.end()
        record = taking.record
        wanting = [
            switch for switch in self._switches if switch.wants(record.caller, record.session_id)
        ]
        if not wanting and not taking.repeats:
            taking.drop()
            return
        if len(self._waiting) >= MOST_WAITING:
            taking.drop()
            self._lose("full", "too many captured requests wait to be written")
            return
        taking.switch = str(wanting[0]) if wanting else "sent again"
        self._waiting.append(taking)
        self._wake.set()

    # ---- the switches --------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return the switches for people and programs."""
        now = time.time()
        on = [switch.shown() for switch in self._switches if switch.until > now]
        return {"on": bool(on), "switches": on, "lost": self.lost}

    async def turn_on(self, switch: CaptureSwitch) -> None:
        """Switch capture on in every gateway of the stack. Raises ClientError,
        StoreUnavailable.
        """
        try:
            self._switches = await asyncio.to_thread(self._file.add, switch)
        except OSError as error:
            raise self._unusable(error) from error
        get_log().warning("capture_on", what=str(switch), by=switch.by or "owner")

    async def turn_off(self, kind: Kind | None = None, name: str = "", by: str = "") -> None:
        """Switch off one switch, or all switches. Raises StoreUnavailable."""
        try:
            self._switches = await asyncio.to_thread(self._file.remove, kind, name)
        except OSError as error:
            raise self._unusable(error) from error
        get_log().info("capture_off", what=f"{kind} {name}".strip() if kind else "all", by=by)

    def _unusable(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"The directory of captures cannot be used ({error.strerror}): {self._directory}; see "
            "CAPTURE__DIRECTORY."
        )

    # ---- the task ------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Return when every request ended by now has been written, or lost."""
        over = self._done + len(self._waiting)
        while self._done < over:
            self._written.clear()
            await self._written.wait()

    async def _work(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_seconds):
                    await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._write_next()
                await self._look()
            await self._look()

    async def _look(self) -> None:
        """Follow the switches in the file, and end the expired switches."""
        now = time.time()
        if any(switch.until <= now for switch in self._switches):
            self._switches = tuple(each for each in self._switches if each.until > now)
        # One look at the file's facts, a second: short enough for the event loop.
        seen = self._file.identity()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._switches = await asyncio.to_thread(self._file.read)
        except (OSError, ValueError) as error:
            self._switches = ()
            get_log().warning("capture_switches_unreadable", reason=str(error)[:200])

    async def _write_next(self) -> None:
        """Clean and write the longest-waiting request. It stays in the queue until then."""
        taking = self._waiting[0]
        try:
            kept = await asyncio.to_thread(self._write, taking)
        except OSError as error:
            self._lose("disk", f"{error.strerror}: {self._directory}")
        except Exception:  # noqa: BLE001 - one request that cannot be cleaned must not be the last
            get_log().exception("capture_failed", request_id=taking.record.request_id)
            self._lose("clean", "a captured request could not be cleaned of secrets")
        else:
            if kept:
                self._failing.clear()
            else:
                self._lose("large", "a captured request is larger than CAPTURE__STORE_BYTES")
        self._waiting.popleft()
        taking.drop()
        self._done += 1
        self._written.set()

    def _write(self, taking: Taking) -> bool:
        return self.store.keep(taking.captured())

    def _lose(self, kind: str, reason: str) -> None:
        self.lost += 1
        # One line until captures are written again: a full disk would fill the log too.
        if kind not in self._failing:
            self._failing.add(kind)
            get_log().warning("capture_lost", reason=reason)
