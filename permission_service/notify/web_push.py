"""Web Push: the way to the browsers that have subscribed on our page.

A message is sealed for each browser and posted to the browser's push service (RFC 8030). Its
buttons answer with the sign-in of the browser, so a message holds no link and no secret, and its
answer bears the name of the browser's token.

Invariants: a browser that has a message does not get it again when another browser's failed. A
browser whose push service no longer knows it is forgotten. No answer is offered that a later
message could move: Deny stands first and alone, or with Allow behind it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from permission_service.notify.browsers import Browser, Browsers, Subscriber
from permission_service.notify.links import LinkTokens
from permission_service.notify.messages import Notification
from permission_service.notify.posting import SendFailed, post_message
from shared.runtime.errors import ClientError, Conflict
from shared.runtime.exact_json import dump_json
from shared.runtime.files import create_private
from shared.runtime.visible_text import cut
from shared.settings.notify import NotifySettings

# Expanded, the notification of a phone shows about so much. A longer text offers no Allow: what is
# allowed has been seen.
SHOWN_CHARACTERS = 240
SHOWN_LINES = 6
MAX_TITLE = 120  # characters
# Bytes of JSON; with what encryption adds, the 4,096 that every push service takes.
MAX_DOCUMENT_BYTES = 3900
OPEN_PAGE = "\n… Open the page to see all of it."
GONE = frozenset({404, 410})  # RFC 8030: the subscription has ended
AT_ONCE = 8  # browsers that get a message at the same time
REMEMBERED = 1000  # messages whose receivers are known, more than are ever on their way
# How long a push service keeps a message for a browser that is out of reach.
NEWS_SECONDS = 3600
WITHOUT_END_SECONDS = 86_400  # of a request without a limit, and of the outcome of a request
TOPIC_CHARACTERS = 32  # RFC 8030: the most that a topic may have
LOCAL_CONTACT = (
    "mailto:ccproxy@localhost"  # push services want a contact; that of Safari a real one
)


class WebPush:
    """The subscribed `browsers`. The sender's key lies in `key_file`, made at its first use."""

    name = "web_push"
    has_buttons = False
    # A repeated message replaces itself on the browser: sent again is better than not at all.
    marked_first = False
    shows_ends = True

    def __init__(
        self,
        browsers: Browsers,
        settings: NotifySettings,
        key_file: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.browsers = browsers
        self._contact = settings.push_contact or https_or_none(settings.public_url)
        self._key_file = key_file
        self._clock = clock
        self._sender: Any = None
        self._slots = asyncio.Semaphore(AT_ONCE)
        # The ids of messages, and of the browsers that need not get them (again).
        self._done: OrderedDict[str, set[str]] = OrderedDict()

    @property
    def has_receivers(self) -> bool:
        """Return True while a browser is subscribed."""
        return bool(self.browsers.all())

    def public_key(self) -> str:
        """Return the sender's public key, in the form for a subscribing page. Raises Conflict for
        an unusable key file.
        """
        try:
            return str(self._sender_key().public)
        except (OSError, ValueError) as error:
            raise Conflict(
                f"The key of Web Push, {self._key_file}, cannot be used: {error}."
            ) from error

    async def subscribe(self, subscription: Any, by: Subscriber) -> dict[str, Any]:
        """Store the browser with `subscription`, and return it for people. Raises ClientError,
        Conflict, BusUnavailable.
        """
        keys = subscription.get("keys") if isinstance(subscription, dict) else None
        if not isinstance(keys, dict) or "endpoint" not in subscription:
            raise ClientError("subscription: expected what `PushSubscription.toJSON()` returns.")
        try:
            sealing().check_receiver(str(keys.get("p256dh")), str(keys.get("auth")))
        except ValueError as error:
            raise ClientError("keys: expected the keys p256dh and auth of a browser.") from error
        browser = await self.browsers.add(subscription, self.public_key(), by)
        return browser.show()

    def skip(self, message_id: str, browser_id: str) -> None:
        """Leave out the browser with `browser_id` when the message is sent."""
        self._done_of(message_id).add(browser_id)

    async def send(self, message: Notification, links: LinkTokens | None) -> str:
        """Send `message` to every browser that does not have the message yet. Return the outcome
        for every browser; raises SendFailed if a browser failed, final unless another attempt can
        help.
        """
        await self.browsers.forget_ended()
        done = self._done_of(message.id)
        waiting = [browser for browser in self.browsers.all() if browser.id not in done]
        outcomes = await asyncio.gather(*(self._send_to(each, message) for each in waiting))
        failed = False
        passing = False
        words = []
        for browser, outcome in zip(waiting, outcomes, strict=True):
            if isinstance(outcome, SendFailed):
                failed = True
                passing = passing or not outcome.final
                words.append(f"{browser.name}: {outcome.problem}")
            else:
                words.append(f"{browser.name}: {outcome}")
            if not isinstance(outcome, SendFailed) or outcome.final:
                done.add(browser.id)
        text = ", ".join(words) or "every browser has it"
        if failed:
            raise SendFailed(text, final=not passing)
        return text

    async def _send_to(self, browser: Browser, message: Notification) -> str | SendFailed:
        """Return the push service's status; a failure is returned too, for all browsers to be
        tried.
        """
        async with self._slots:
            try:
                if browser.sender != self._sender_key().public:
                    # Its push service takes no message of another sender. The page subscribes anew
                    # when it is opened.
                    await self.browsers.forget_gone(browser)
                    return "subscribed to an earlier key, and forgotten"
                headers = self._headers(browser, message)
                content = dump_json(push_document(message))
                sealed = sealing().seal(content, browser.p256dh, browser.auth)
                return await post_message(browser.endpoint, sealed, headers)
            except SendFailed as error:
                if error.status in GONE:
                    await self.browsers.forget_gone(browser)
                    return "gone, and forgotten"
                return error
            except (OSError, ValueError) as error:
                # The text of an OSError has the path of the key file, and no secret.
                return SendFailed(f"cannot be sealed ({error})", final=True)

    def _headers(self, browser: Browser, message: Notification) -> dict[str, str]:
        contact = self._contact or https_or_none(browser.page) or LOCAL_CONTACT
        signed = self._sender_key().authorization(browser.endpoint, contact, self._clock())
        return {
            "authorization": signed,
            "content-type": "application/octet-stream",
            "content-encoding": "aes128gcm",
            "ttl": str(self._kept_seconds(message)),
            "urgency": "high" if message.urgent else "normal",
            # The outcome of a request replaces its message also while a phone is out of reach.
            "topic": topic_of(tag_of(message)),
        }

    def _kept_seconds(self, message: Notification) -> int:
        if not message.request_id:
            return NEWS_SECONDS
        if message.expires_at is None:
            return WITHOUT_END_SECONDS
        return max(0, min(WITHOUT_END_SECONDS, int(message.expires_at - self._clock())))

    def _sender_key(self) -> Any:
        """Return the sender's key, from the key file. Raises OSError, ValueError."""
        if self._sender is None:
            module = sealing()
            if not self._key_file.exists():
                create_private(self._key_file, module.new_sender_key())
            self._sender = module.SenderKey(self._key_file.read_bytes())
        return self._sender

    def _done_of(self, message_id: str) -> set[str]:
        while len(self._done) >= REMEMBERED:
            self._done.popitem(last=False)
        return self._done.setdefault(message_id, set())


def sealing() -> Any:
    """Return the module for sealing, loaded at the first use."""
    return importlib.import_module("permission_service.notify.sealing")


def push_document(message: Notification) -> dict[str, Any]:
    """Return `message` in the form that our service worker shows: `actions` are the answers of the
    buttons, in order.
    """
    is_request = message.type == "permission.waiting"
    text = message.text
    is_whole = len(text) <= SHOWN_CHARACTERS and text.count("\n") < SHOWN_LINES
    actions = ["deny", "allow"] if message.may_allow and is_whole else ["deny"]
    document = {
        "type": message.type,
        "title": cut(message.title, MAX_TITLE),
        "text": text,
        "tag": tag_of(message),
        "request_id": message.request_id,
        "actions": actions if is_request else [],
        "at": round(message.at * 1000),
        "quiet": message.quiet,
    }
    while len(dump_json(document)) > MAX_DOCUMENT_BYTES:
        # A character is up to twelve bytes in JSON, so the text is measured after each cut.
        text = text[: len(text) * 3 // 4]
        document["text"] = text + OPEN_PAGE
    return document


def tag_of(message: Notification) -> str:
    """Return the name under which a message replaces an earlier message on the browser."""
    return f"permission-{message.request_id}" if message.request_id else message.id


def topic_of(tag: str) -> str:
    """Return the topic of RFC 8030 for `tag`; the topic reveals no part of the tag."""
    digest = hashlib.sha256(tag.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()[:TOPIC_CHARACTERS]


def https_or_none(address: str | None) -> str | None:
    """Return `address` if the address is https."""
    return address if address and address.startswith("https://") else None
