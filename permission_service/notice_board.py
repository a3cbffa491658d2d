"""The notices that people look back at: alerts, which outlive a restart, and the agents' news,
which does not. The latest come first.
"""

from __future__ import annotations

from typing import Any

from permission_service.alerts.book import AlertBook
from permission_service.notices import Notices

SHOWN = 50


class NoticeBoard:
    """The `notices` of agents beside the alerts of a book."""

    def __init__(self, notices: Notices, alerts: AlertBook) -> None:
        self._notices = notices
        self._alerts = alerts

    async def add(self, name: str, data: dict[str, Any], caller: str = "") -> None:
        """Add a piece of news, as `Notices.add`."""
        await self._notices.add(name, data, caller)

    def show(self) -> list[dict[str, Any]]:
        """Return the latest notices as events for people, latest first."""
        # Alerts are among the news as well, as long as this process lives: the book has them all.
        news = [
            {"type": each.name, **each.data}
            for each in self._notices.after(0)
            if each.name == "notice"
        ]
        found = [*news, *self._alerts.show()]
        return sorted(found, key=lambda event: str(event["at"]), reverse=True)[:SHOWN]
