"""The owner's presence: it decides if a hook waits for a person, and hands back what waits when the
owner returns.

An agent with a hook can ask in its own terminal, so at the desk nothing of it waits here. The state
is in Redis before it counts, and outlives a restart.

Invariant: an agent without a terminal of its own (`/sdk`, `/mcp`) is never concerned.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from permission_service.away import Away, changed_away, is_away, next_change, show_away
from permission_service.notices import Notices
from permission_service.watchers import PermissionWatchers
from shared.bus import Bus
from shared.bus.channels import PermissionRequest, decode_payload, encode_payload
from shared.runtime.errors import BusUnavailable

AsksPerson = Literal["away", "watched"]

AWAY_KEY = "permission:away"
# Redis keeps nothing without an end. Every start and every change renews it.
AWAY_SECONDS = 366 * 86_400.0
# Clocks jump when a machine sleeps, so the state is looked at again after it.
LOOK_AGAIN_SECONDS = 60.0
AT_DESK = "The owner is at the desk, so the agent asks in its own terminal."
RETURNED = "The owner is back, so the agent asks in its own terminal."


class Presence:
    """The state `Away` in force. `asks`: `watched` lets hooks wait also while somebody watches."""

    def __init__(
        self,
        bus: Bus,
        watchers: PermissionWatchers,
        notices: Notices,
        clock: Callable[[], float],
        asks: AsksPerson,
    ) -> None:
        self._bus = bus
        self._watchers = watchers
        self._notices = notices
        self._clock = clock
        self._asks = asks
        self._away = Away()
        self._changed = asyncio.Event()

    async def load(self) -> None:
        """Load the state of the previous process. Raises BusUnavailable."""
        found = await self._bus.scan(AWAY_KEY)
        if data := found.get(AWAY_KEY):
            await self._store(decode_payload(Away, data))

    @property
    def owner_is_away(self) -> bool:
        """Return True while `Away` makes hooks wait for a person."""
        return is_away(self._away, self._clock())

    def stands_aside(self, request: PermissionRequest) -> bool:
        """Return True when the agent of `request` asks in its own terminal now."""
        return request.asks_itself and not self._takes_hooks()

    def show(self) -> dict[str, Any]:
        """Return the state for people, and `asks`, the setting."""
        return show_away(self._away, self._clock()) | {"asks": self._asks}

    async def change(self, asked: dict[str, Any], by: str) -> dict[str, Any]:
        """Change the state as `asked`, and return it. Raises ClientError, BusUnavailable."""
        await self._store(changed_away(self._away, asked, by, self._clock()))
        await self._notices.add("presence", self.show())
        self._changed.set()
        return self.show()

    async def hand_back(
        self,
        end_all: Callable[[str], Awaitable[None]],
        looked: Callable[[str], Awaitable[None]],
    ) -> None:
        """Call `end_all` with a sentence for the agents' users whenever the owner has returned,
        without an end. Call `looked` with the maker of the state after each look.

        The first look is after LOOK_AGAIN_SECONDS or the first change, so that the watchers of
        before have come back after a restart.
        """
        was_away = self.owner_is_away
        while True:
            by_hand = await self._until_next_look()
            now_away = self.owner_is_away
            # A change by hand has been announced already.
            if now_away != was_away and not by_hand:
                await self._notices.add("presence", self.show())
            was_away = now_away
            # Before the requests are handed back: the rules of now may decide them.
            with contextlib.suppress(BusUnavailable):
                await looked(self._away.by)
            if not self._takes_hooks():
                # Without Redis the requests wait on, and are handed back at the next look.
                with contextlib.suppress(BusUnavailable):
                    await end_all(RETURNED)

    async def _until_next_look(self) -> bool:
        """Wait for a change, or for the time to look again. Return True after a change by hand."""
        now = self._clock()
        next_time = next_change(self._away, now)
        left = LOOK_AGAIN_SECONDS if next_time is None else next_time - now
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(left, LOOK_AGAIN_SECONDS))):
                await self._changed.wait()
        by_hand = self._changed.is_set()
        self._changed.clear()
        return by_hand

    def _takes_hooks(self) -> bool:
        watched = self._asks == "watched" and self._watchers.count > 0
        return watched or self.owner_is_away

    async def _store(self, away: Away) -> None:
        # Stored before it is in force: a word that Redis refused must not hold until the restart
        # and then be gone.
        await self._bus.put(AWAY_KEY, encode_payload(away), ttl=AWAY_SECONDS)
        self._away = away
