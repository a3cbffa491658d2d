"""Web Push from a tool's call to the button on the phone: a message that only the subscribed browser
can read, shown by the real service worker in a real browser, answered there, and replaced when
somebody else was faster.

Between the two stand a stand-in for the push service, and the developer tools: they hand the
decrypted message to the service worker, as the browser's own connection to a push service would. A
headless browser draws no notification that could be clicked, so the click is the event itself, sent
inside the service worker.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from permission_service.notify.approving_tokens import ApprovingTokens
from permission_service.notify.browsers import Browsers
from permission_service.notify.notifier import NotifyPolicy
from permission_service.notify.web_push import WebPush
from shared.bus import Bus
from shared.settings.notify import NotifySettings
from shared.settings.security import SecuritySettings
from tests.support.browser import Browser
from tests.support.devtools import DevTools, developer_tools
from tests.support.permission_stack import Front, running_desk, running_front
from tests.support.push_service import SubscribedBrowser, base64url, claims_of
from tests.support.receivers import Received, Receiver

pytestmark = pytest.mark.long

OWNER = "an-owner-token-of-enough-characters"
PHONE = "phone-secret-token"
SECURITY = {
    "auth_token": OWNER,
    "tokens": [{"name": "phone", "token": PHONE, "scopes": ["approve"]}],
}
Found = TypeVar("Found")
QUICKLY = NotifyPolicy(pauses=(0.01, 0.01))
# The browser's connection to its push service, which a test has not: what `subscribe` returns is
# the subscription of the test's own browser keys.
PUSH_SERVICE = """
const stored = {subscription};
let made = null;
PushManager.prototype.subscribe = async (options) => {{
  globalThis.subscribedWith = new Uint8Array(options.applicationServerKey);
  if (!options.userVisibleOnly) throw new Error("expected userVisibleOnly");
  made = {{
    endpoint: stored.endpoint,
    options: {{ applicationServerKey: globalThis.subscribedWith.buffer }},
    toJSON: () => stored,
    unsubscribe: async () => {{ made = null; return true; }},
  }};
  return made;
}};
PushManager.prototype.getSubscription = async () => made;
"""


def web_push(tmp_path: Path, **settings: Any) -> Callable[[Bus], WebPush]:
    """Return what makes the way to browsers, with the tokens of SECURITY."""
    notify = NotifySettings.model_validate({"push_hosts": ["127.0.0.1"]} | settings)
    tokens = ApprovingTokens(
        SecuritySettings.model_validate(SECURITY | {"tokens_file": tmp_path / "tokens.json"})
    )

    def on(bus: Bus) -> WebPush:
        browsers = Browsers(bus, tokens, time.time, notify.push_hosts)
        return WebPush(browsers, notify, tmp_path / "state/web-push.key")

    return on


async def arrived(receiver: Receiver) -> Received:
    return await asyncio.to_thread(receiver.next)


async def until(found: Callable[[], Awaitable[Found | None]]) -> Found:
    """Return the first truthy result of `found`."""
    async with asyncio.timeout(30):
        while not (result := await found()):  # noqa: ASYNC110 - the browser tells nobody
            await asyncio.sleep(0.05)
    return result


@asynccontextmanager
async def stack(redis_url: str, tmp_path: Path, **settings: Any) -> AsyncIterator[Front]:
    details = bool(settings.pop("details", False))
    policy = NotifyPolicy(details=details, pauses=QUICKLY.pauses)
    async with (
        running_desk(
            redis_url,
            tmp_path / "rules.toml",
            web_push_on=web_push(tmp_path, **settings),
            notify=policy,
        ),
        running_front(redis_url, security=SECURITY) as front,
    ):
        front.client.headers["x-api-key"] = OWNER
        yield front


class Phone:
    """The installed page in a real browser, signed in with the token `phone`."""

    def __init__(self, browser: Browser, tools: DevTools, front: Front) -> None:
        self._browser, self._tools = browser, tools
        self.url = str(front.client.base_url).rstrip("/")

    async def sign_in(self, subscription: dict[str, Any]) -> None:
        await asyncio.to_thread(self._sign_in, subscription)

    def _sign_in(self, subscription: dict[str, Any]) -> None:
        browser = self._browser
        browser.dress(width=390, height=844, dark=True)
        browser.command(
            "Page.addScriptToEvaluateOnNewDocument",
            source=PUSH_SERVICE.format(subscription=json.dumps(subscription)),
        )
        browser.go(f"{self.url}/signin?next=/permissions/ui")
        browser.type("#token", PHONE)
        browser.click("button[type=submit]")
        browser.until_text("Nothing is waiting for you.")
        browser.until("return navigator.serviceWorker.controller !== null")

    async def subscribe(self) -> str:
        """Press the button, and return the sender's key that the page subscribed with."""
        return await asyncio.to_thread(self._subscribe)

    def _subscribe(self) -> str:
        browser = self._browser
        # Nothing asks on load.
        assert browser.run("return Notification.permission") == "default"
        browser.command(
            "Browser.setPermission",
            permission={"name": "notifications"},
            setting="granted",
            origin=self.url,
        )
        browser.click("#signals-notify")
        browser.until_text("This browser gets messages, also while the page is closed.")
        return base64url(bytes(browser.run("return Array.from(globalThis.subscribedWith)")))

    async def deliver(self, message: dict[str, Any]) -> None:
        """Hand `message` to the service worker, as the browser does with a decrypted push."""
        page = await self._tools.attach("page", self.url)
        await self._tools.send("ServiceWorker.enable", page)
        updated = await self._tools.event("ServiceWorker.workerRegistrationUpdated", page)
        registration = updated["registrations"][0]["registrationId"]
        await self._tools.send(
            "ServiceWorker.deliverPushMessage",
            page,
            origin=self.url,
            registrationId=registration,
            data=json.dumps(message),
        )

    async def worker(self) -> str:
        return await self._tools.attach("service_worker", self.url)

    async def shown(self, count: int = 1) -> list[dict[str, Any]]:
        """Return the notifications that are shown, once there are `count`."""
        worker = await self.worker()
        script = """registration.getNotifications().then((all) => all.map(
            ({title, body, tag, silent, data, actions}) =>
              ({title, body, tag, silent, data, actions: actions.map(({title}) => title)})))"""

        async def found() -> tuple[list[dict[str, Any]]] | None:
            all_shown = await self._tools.run(worker, script)
            return (all_shown,) if len(all_shown) == count else None

        (result,) = await until(found)
        return result

    async def until_shown(self, words: str) -> None:
        """Wait until the one notification shows `words`."""

        async def has_words() -> bool:
            return words in (await self.shown())[0]["body"]

        await until(has_words)

    async def click(self, action: str) -> None:
        """Click the button `action` of the one notification."""
        worker = await self.worker()
        script = f"""registration.getNotifications().then(async ([notification]) => {{
          const event = new NotificationEvent("notificationclick",
            {{ notification, action: {json.dumps(action)} }});
          self.dispatchEvent(event);
        }})"""
        await self._tools.run(worker, script)


async def test_a_message_reaches_the_phone_sealed_and_its_button_answers_in_the_phones_name(
    redis_url: str, tmp_path: Path, browser: Browser
) -> None:
    with Receiver() as service:
        keys = SubscribedBrowser(f"{service.url}/wp/secret-capability")
        async with (
            stack(redis_url, tmp_path) as front,
            developer_tools(browser.debugger) as tools,
        ):
            phone = Phone(browser, tools, front)
            await phone.sign_in(keys.subscription)
            sender = await phone.subscribe()
            checking = asyncio.create_task(front.check(input={"command": "cat private.txt"}))
            received = await arrived(service)
            message = keys.open(received)
            await phone.deliver(message)
            (shown,) = await phone.shown()
            await phone.click("allow")
            decision = await checking
            await phone.shown(0)
            recent = (await front.client.get("/permissions")).json()["recent"]
            listed = (await front.client.get("/permissions/notifications/browsers")).json()
            assert await asyncio.to_thread(browser.complaints) == []
    claims = claims_of(received, sender, time.time())
    assert claims["aud"] == service.url
    assert claims["sub"].startswith("mailto:")
    assert received.path == "/wp/secret-capability"
    assert b"private.txt" not in json.dumps(message).encode()
    assert 0 < int(received.headers["ttl"]) <= 300
    assert received.headers["urgency"] == "high"
    assert shown["title"] == "An agent asks for permission: Bash"
    assert shown["actions"] == ["Deny", "Allow"]
    assert decision["behavior"] == "allow"
    assert recent[0]["decided_by"] == "phone"
    (browser_row,) = listed["browsers"]
    assert (browser_row["token"], browser_row["program"]) == ("phone", "Chrome on Linux")
    assert "secret-capability" not in json.dumps(listed)


async def test_the_outcome_of_a_request_replaces_its_message_and_skips_the_browser_that_answered(
    redis_url: str, tmp_path: Path, browser: Browser
) -> None:
    with Receiver() as service:
        keys = SubscribedBrowser(f"{service.url}/phone")
        async with (
            stack(redis_url, tmp_path) as front,
            developer_tools(browser.debugger) as tools,
        ):
            phone = Phone(browser, tools, front)
            await phone.sign_in(keys.subscription)
            await phone.subscribe()
            checking = asyncio.create_task(front.check())
            message = keys.open(await arrived(service))
            await phone.deliver(message)
            await phone.shown()
            # Somebody at the desk is faster.
            await front.respond(message["request_id"], allowed=False)
            await checking
            outcome = keys.open(await arrived(service))
            assert outcome["type"] == "permission.ended"
            await phone.deliver(outcome)
            await phone.until_shown("asked for permission")
            (shown,) = await phone.shown()
            assert (shown["tag"], shown["title"]) == (message["tag"], "Denied by owner")
            assert (shown["actions"], shown["silent"]) == ([], True)
            # The open page closes what no longer waits.
            await asyncio.to_thread(browser.go, f"{phone.url}/permissions/ui")
            await phone.shown(0)
            # Two requests, the first one answered on the page of this very phone: it gets no
            # message of that outcome, so the next one is of the second request.
            first = asyncio.create_task(front.check())
            await arrived(service)
            await asyncio.to_thread(browser.click, ".request .deny")
            await first
            second = asyncio.create_task(front.check())
            following = keys.open(await arrived(service))
            assert following["type"] == "permission.waiting"
            await front.respond(following["request_id"])
            await second
            assert keys.open(await arrived(service))["title"] == "Allowed by owner"


async def test_a_button_that_cannot_answer_says_so_and_decides_nothing(
    redis_url: str, tmp_path: Path, browser: Browser
) -> None:
    with Receiver() as service:
        keys = SubscribedBrowser(f"{service.url}/phone")
        async with (
            stack(redis_url, tmp_path) as front,
            developer_tools(browser.debugger) as tools,
        ):
            phone = Phone(browser, tools, front)
            await phone.sign_in(keys.subscription)
            await phone.subscribe()
            checking = asyncio.create_task(front.check())
            message = keys.open(await arrived(service))
            await phone.deliver(message)
            await phone.shown()
            await asyncio.to_thread(browser.command, "Network.clearBrowserCookies")
            await phone.click("allow")
            await phone.until_shown("This browser is no longer signed in.")
            (pending,) = (await front.client.get("/permissions")).json()["pending"]
            await front.respond(pending["request_id"], allowed=False)
            assert (await checking)["behavior"] == "deny"


async def test_signing_out_ends_the_messages_of_a_browser(
    redis_url: str, tmp_path: Path, browser: Browser
) -> None:
    with Receiver() as service:
        keys = SubscribedBrowser(f"{service.url}/phone")
        async with (
            stack(redis_url, tmp_path) as front,
            developer_tools(browser.debugger) as tools,
        ):
            phone = Phone(browser, tools, front)
            await phone.sign_in(keys.subscription)
            await phone.subscribe()
            path = "/permissions/notifications/browsers"
            assert len((await front.client.get(path)).json()["browsers"]) == 1
            await asyncio.to_thread(browser.click, ".sign-out button")
            await asyncio.to_thread(browser.until, "return location.pathname === '/signin'")

            async def is_forgotten() -> bool:
                return not (await front.client.get(path)).json()["browsers"]

            await until(is_forgotten)


async def test_the_test_message_reaches_a_browser_and_details_offer_allow_for_short_texts_alone(
    redis_url: str, tmp_path: Path
) -> None:
    with Receiver() as service:
        keys = SubscribedBrowser(f"{service.url}/phone")
        async with stack(redis_url, tmp_path, details=True) as front:
            body = {"subscription": keys.subscription}
            path = "/permissions/notifications/browsers"
            for wrong in ("http://10.0.0.1/x", "https://metadata.internal/x"):
                inside = {"subscription": keys.subscription | {"endpoint": wrong}}
                refused = await front.client.post(path, json=inside)
                assert (refused.status_code, "endpoint" in refused.text) == (400, True)
                assert "/x" not in refused.text
            made = await front.client.post(path, json=body, headers={"x-api-key": PHONE})
            assert made.json()["id"] == keys.id
            tried = (await front.client.post("/permissions/notifications/test", json={})).json()
            assert tried["ways"][0]["way"] == "web_push"
            assert tried["ways"][0]["sent"] is True
            assert keys.open(await arrived(service))["type"] == "test"
            short = asyncio.create_task(front.check(input={"command": "touch x"}))
            message = keys.open(await arrived(service))
            assert "touch x" in message["text"]
            assert message["actions"] == ["deny", "allow"]
            await front.respond(message["request_id"])
            await short
            assert keys.open(await arrived(service))["type"] == "permission.ended"
            long = asyncio.create_task(front.check(input={"command": "echo " + "x" * 5000}))
            message = keys.open(await arrived(service))
            assert message["actions"] == ["deny"]
            removed = await front.client.delete(f"{path}/{keys.id}")
            assert removed.json() == {"status": "removed"}
            await front.respond(message["request_id"])
            await long
            again = await front.client.delete(f"{path}/{keys.id}")
            assert again.status_code == 404
    assert service.arrived.empty()
