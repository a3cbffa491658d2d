"""The ways to the owner's phone: ntfy, and a signed webhook.

ntfy gets a message with buttons; its server and everybody who may read the topic see the message
and the links. A webhook gets the event as JSON, signed as Standard Webhooks 1.0 asks: HMAC-SHA256
over id, time and body. It gets no links.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Protocol

from permission_service.notify.links import LinkTokens
from permission_service.notify.messages import Notification
from permission_service.notify.posting import post_message
from shared.permissions.answer_links import ANSWER_PATH
from shared.runtime.exact_json import dump_json
from shared.runtime.times import iso_time
from shared.settings.notify import NotifySettings, secret_bytes

URGENT = 4  # of ntfy's five priorities: sounds, and stays
USUAL = 3
QUIET = 2  # makes no sound
PERMISSIONS_PAGE = "/permissions/ui"
# In events of managed sessions, whose `workspace_id` is the name of the session's token.
ORGANIZATION = "ccproxy"


class Way(Protocol):
    """A way to the owner. `has_buttons`: messages can carry links that answer a request.

    `has_receivers` is False while there is nobody to send to. `shows_ends`: its receivers show one
    message for each request, so the end of a request is sent too, and replaces it.

    `marked_first`: people would see a message twice, so a message is marked as sent before it
    leaves; else its receiver knows the event's id.
    """

    name: str
    has_buttons: bool
    marked_first: bool
    shows_ends: bool

    @property
    def has_receivers(self) -> bool: ...

    async def send(self, message: Notification, links: LinkTokens | None) -> str:
        """Send `message` and return the receiver's status. Raises SendFailed."""
        ...


class Ntfy:
    """A topic of an ntfy server."""

    name = "ntfy"
    marked_first = True
    shows_ends = False
    has_receivers = True

    def __init__(self, settings: NotifySettings) -> None:
        assert settings.ntfy_topic is not None
        self._topic = settings.ntfy_topic.get_secret_value()
        self._url = f"{settings.ntfy_url}/"
        self._token = settings.ntfy_token
        self._public_url = settings.public_url
        self.has_buttons = self._public_url is not None

    async def send(self, message: Notification, links: LinkTokens | None) -> str:
        headers = {}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token.get_secret_value()}"
        return await post_message(self._url, dump_json(self.document(message, links)), headers)

    def document(self, message: Notification, links: LinkTokens | None) -> dict[str, Any]:
        """Return `message` as ntfy's JSON, with buttons for `links`."""
        document = {
            "topic": self._topic,
            "title": message.title,
            "message": message.text,
            "priority": URGENT if message.urgent else QUIET if message.quiet else USUAL,
            # From ntfy 2.16 on, a message with the same id replaces the one before.
            "sequence_id": message.id,
        }
        if self._public_url is None:
            return document
        page = self._public_url + PERMISSIONS_PAGE
        actions = self._buttons(message, links) if links is not None else []
        if message.request_id:
            actions.append({"action": "view", "label": "Open", "url": page})
        return document | {"click": page, "actions": actions}

    def _buttons(self, message: Notification, links: LinkTokens) -> list[dict[str, Any]]:
        # Deny comes first and is always there, so that no button is where another was before.
        given = {"Deny": links.deny} | ({"Allow": links.allow} if message.may_allow else {})
        return [
            {
                "action": "http",
                "label": label,
                "method": "POST",
                "url": f"{self._public_url}{ANSWER_PATH}{token}",
                "clear": True,
            }
            for label, token in given.items()
        ]


class Webhook:
    """An address for signed events."""

    name = "webhook"
    has_buttons = False
    marked_first = False
    shows_ends = False
    has_receivers = True

    def __init__(self, settings: NotifySettings, clock: Callable[[], float]) -> None:
        assert settings.webhook_url is not None
        assert settings.webhook_secret is not None
        self._url = settings.webhook_url.get_secret_value()
        self._key = secret_bytes(settings.webhook_secret.get_secret_value())
        self._clock = clock

    async def send(self, message: Notification, links: LinkTokens | None) -> str:
        body = dump_json(event_document(message))
        return await post_message(self._url, body, self.signature(message.id, body))

    def signature(self, event_id: str, body: bytes) -> dict[str, str]:
        """Return the headers that sign `body`, at the time of now."""
        # The time of this attempt: receivers refuse old times, and a repeated event keeps its id.
        sent_at = str(int(self._clock()))
        signed = b".".join([event_id.encode(), sent_at.encode(), body])
        digest = hmac.new(self._key, signed, hashlib.sha256).digest()
        return {
            "webhook-id": event_id,
            "webhook-timestamp": sent_at,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }


def event_document(message: Notification) -> dict[str, Any]:
    """Return `message` as the JSON of a webhook. Events of managed sessions have the form that the
    vendor's SDKs read (`client.beta.webhooks.unwrap`): ids alone, for the receiver to look up.
    """
    if message.type == "session.status_idled":
        about = {
            "id": message.facts["session_id"],
            "organization_id": ORGANIZATION,
            "type": message.type,
            "workspace_id": message.facts["caller"],
        }
        at = iso_time(message.at)
        return {"id": message.id, "created_at": at, "data": about, "type": "event"}
    data = {"title": message.title, "text": message.text, **message.facts}
    if message.request_id:
        data["request_id"] = message.request_id
    return {"type": message.type, "timestamp": iso_time(message.at), "data": data}


def ways_of(settings: NotifySettings, clock: Callable[[], float]) -> list[Way]:
    """Return the ways configured by the owner."""
    ways: list[Way] = []
    if settings.ntfy_topic is not None:
        ways.append(Ntfy(settings))
    if settings.webhook_url is not None:
        ways.append(Webhook(settings, clock))
    return ways
