"""The owner's switches in the terminal: at the desk or away, and the profiles in force.

Invariant: what is shown is what the permission service last said, never what a key asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ccproxy.cli.gateway import Unanswered
from ccproxy.cli.permissions.feed import EventFeed, FeedEvent
from ccproxy.cli.permissions.news import idle_status, profiles_in_words, sentence_of

MOST_KEYS = 9  # profiles that have a key

Work = Coroutine[Any, Any, None]


class OwnerSwitches:
    """The switches as known through `feed`. `say` prints a notice; `changed` is called when
    something else is to be shown.
    """

    def __init__(
        self, feed: EventFeed, say: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        self._feed = feed
        self._say = say
        self._changed = changed
        self._presence: dict[str, Any] | None = None
        self._profiles: dict[str, Any] | None = None
        self._choosing = False

    @property
    def status(self) -> str:
        """Return the line for a terminal without a request."""
        return idle_status(self._presence, self._profiles)

    @property
    def asked(self) -> str:
        """Return the question that takes the next key; an empty text without one."""
        if not self._choosing or self._profiles is None:
            return ""
        names = [
            f"{number} [{'x' if name in self._profiles['active'] else ' '}] {name}"
            for number, name in enumerate(self._names(), 1)
        ]
        in_force = profiles_in_words(self._profiles)
        return "\n".join([in_force, "   ".join(names), "1-9: switch   Esc: go back"])

    async def learn(self) -> None:
        """Ask for the state of both switches."""
        self._presence = await self._feed.presence() or self._presence
        self._profiles = await self._feed.profiles() or self._profiles
        self._changed()

    async def take(self, event: FeedEvent) -> None:
        """Take the news that a switch was changed, here or elsewhere."""
        self._say(sentence_of(event))
        if event.name == "presence":
            self._presence = event.data
            self._changed()
        else:
            await self.learn()

    def press(self, key: str) -> Work | None:
        """Return what `key` does to a switch; None for a key that is for no switch."""
        if self._choosing:
            return self._choose(key)
        if key == "w" and self._presence is not None:
            return self._try(self._feed.switch_away(not self._presence["away"]))
        if key == "p" and self._profiles is not None:
            return self._open(choosing=True)
        return None

    def _choose(self, key: str) -> Work:
        """Return the switch of the profile with the number `key`; any other key goes back."""
        names = self._names()
        number = int(key) if key.isascii() and key.isdecimal() else 0
        if self._profiles is None or not 0 < number <= len(names):
            return self._open(choosing=False)
        # The other active profiles stay as they are, in their order.
        name = names[number - 1]
        active = [known for known in self._profiles["active"] if known != name]
        if name not in self._profiles["active"]:
            active.append(name)
        return self._try(self._feed.switch_profiles(active))

    def _names(self) -> list[str]:
        known = self._profiles["profiles"] if self._profiles is not None else []
        return [profile["name"] for profile in known[:MOST_KEYS]]

    async def _open(self, *, choosing: bool) -> None:
        self._choosing = choosing
        self._changed()

    async def _try(self, switch: Work) -> None:
        try:
            await switch
        except Unanswered as error:
            self._say(error.message)
        # The new state comes as an event, to every view.
