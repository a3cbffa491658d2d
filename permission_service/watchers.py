"""The people who watch permission requests: a stream of events for each, and the number of them.

Invariant: a watcher that comes back with the number of its last event misses and repeats nothing.
"""

from __future__ import annotations

from typing import Any

from permission_service.changes import Changes
from permission_service.notices import Notice, Notices
from permission_service.requests import Event, PermissionRequests
from permission_service.views import show_event
from shared.bus import Delivery
from shared.bus.channels import encode_payload


class PermissionWatchers:
    """All watchers of the service. `count` is the number of streams now."""

    def __init__(self, requests: PermissionRequests, changes: Changes, notices: Notices) -> None:
        self.count = 0
        self._requests = requests
        self._changes = changes
        self._notices = notices

    async def send_events(self, after: Any, delivery: Delivery) -> None:
        """Send the events after number `after` without an end. Raises CallerGone."""
        self.count += 1
        try:
            await self._send_events(after, delivery)
        finally:
            self.count -= 1

    async def _send_events(self, after: Any, delivery: Delivery) -> None:
        """Send every event after number `after`, or else the pending requests and later events;
        `synced` marks now.
        """
        seen = after if isinstance(after, int) else None
        if seen is None:
            # The number is taken before the sending, which waits: events of that time come in the
            # loop below.
            seen = self._requests.last_number
            pending = {stored.id for stored in self._requests.pending()}
            for event in list(self._requests.events_after(0)):
                if event.stored.id in pending:
                    await delivery.send(encode_payload(show_event(event)))
        await delivery.send(encode_payload({"synced": seen}))
        while True:
            # Taken before the look at the requests: an event during the sending sets this one, and
            # the wait below ends at once.
            news = self._changes.news
            # A number without an event is of a request that was dropped, or of news that is kept no
            # longer: waiting for its event would never end.
            latest = self._requests.last_number
            for found in self._events_after(seen):
                shown = found.show() if isinstance(found, Notice) else show_event(found)
                await delivery.send(encode_payload(shown))
            # More events may have come while one was being sent: the next round begins behind
            # those of this round.
            seen = max(seen, latest)
            if self._requests.last_number <= seen:
                await news.wait()

    def _events_after(self, number: int) -> list[Event | Notice]:
        """Return the events of requests and the news after event `number`, in order."""
        found: list[Event | Notice] = [*self._requests.events_after(number)]
        found += self._notices.after(number)
        return sorted(found, key=lambda event: event.number)
