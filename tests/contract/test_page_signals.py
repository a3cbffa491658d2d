"""The signals of an open page in a real browser: switched on by a button, remembered, and made only
while the page is out of sight.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Browser
from tests.support.devtools import DevTools, developer_tools
from tests.support.permission_stack import Front, running_desk, running_front

pytestmark = pytest.mark.long

# What the page hands to the browser: each notification, each end of one, and each tone.
WATCHING = """
globalThis.shown = [];
globalThis.tones = 0;
globalThis.Notification = class extends Notification {
  constructor(title, options) {
    super(title, options);
    shown.push({ title, ...options });
  }
  close() {
    shown.pop();
    super.close();
  }
};
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (...given) {
  globalThis.tones += 1;
  return start.apply(this, given);
};
"""
PAGES = {"/dashboard?view=permissions": "Nothing is waiting", "/permissions/ui": "Nothing is"}


@pytest.fixture
async def front(redis_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    async with running_desk(redis_url, tmp_path / "rules.toml"), running_front(redis_url) as front:
        yield front


class OpenPage:
    """A page whose browser watches what it is asked to show and play."""

    def __init__(self, browser: Browser, tools: DevTools, front: Front, path: str) -> None:
        self._browser, self._tools, self._front, self.path = browser, tools, front, path
        self.url = str(front.client.base_url).rstrip("/")
        self.session = ""

    async def open(self) -> None:
        await asyncio.to_thread(self._open)
        self.session = await self._tools.attach("page", self.url)

    def _open(self) -> None:
        self._browser.command("Page.addScriptToEvaluateOnNewDocument", source=WATCHING)
        self._browser.command(
            "Browser.setPermission",
            permission={"name": "notifications"},
            setting="granted",
            origin=self.url,
        )
        self._browser.go(f"{self.url}{self.path}")
        self._browser.until_text(PAGES[self.path])

    async def press(self, name: str) -> None:
        """Press a switch until it is on."""
        await asyncio.to_thread(self._browser.click, f"#signals-{name}")
        pressed = f"document.querySelector('#signals-{name}').ariaPressed === 'true'"
        await asyncio.to_thread(self._browser.until, f"return {pressed}")

    async def hide(self) -> None:
        """Bring another page to the front."""
        await self._tools.send("Target.createTarget", url="about:blank")
        await self.until("document.hidden")

    async def until(self, condition: str) -> Any:
        script = f"""new Promise((done) => {{
          const look = () => ({condition}) ? done(true) : setTimeout(look, 20);
          look();
        }})"""
        return await self._tools.run(self.session, script)

    async def run(self, script: str) -> Any:
        return await self._tools.run(self.session, script)

    async def notifications(self) -> Any:
        """Return what is shown: by the page itself, or by its service worker."""
        script = """navigator.serviceWorker.getRegistration().then((worker) =>
          worker?.getNotifications() ?? []).then((others) => [...shown, ...others.map(
            ({ title, body, tag }) => ({ title, body, tag }))])"""
        return await self.run(script)


@pytest.mark.parametrize("path", PAGES)
async def test_a_hidden_page_notifies_and_sounds_once_it_was_switched_on(
    front: Front, browser: Browser, path: str
) -> None:
    async with developer_tools(browser.debugger) as tools:
        page = OpenPage(browser, tools, front, path)
        await page.open()
        # Off at first: a hidden page is silent until its buttons were pressed.
        assert await page.run("[localStorage.length, tones, shown.length]") == [0, 0, 0]
        await page.press("notify")
        await page.press("sound")
        await page.until("tones === 2")
        # In sight: the request is on the page, and nothing else is made of it.
        seen = asyncio.create_task(front.check(input={"command": "touch seen"}))
        await page.until("document.querySelector('.request')")
        (pending,) = await front.pending(1)
        await front.respond(pending["request_id"])
        await seen
        await page.until("!document.querySelector('.request')")
        assert await page.run("tones") == 2
        assert await page.notifications() == []
        await page.hide()
        asked = asyncio.create_task(front.check(input={"command": "cat private.txt"}))
        await page.until("tones === 4")
        (pending,) = await front.pending(1)
        async with asyncio.timeout(30):
            while not (shown := await page.notifications()):  # noqa: ASYNC110 - the browser tells nobody
                await asyncio.sleep(0.05)
        assert shown[0]["title"] == "An agent asks for permission: Bash"
        assert shown[0]["tag"] == f"permission-{pending['request_id']}"
        assert "private" not in str(shown)
        # Once it is answered elsewhere, nothing of it is left.
        await front.respond(pending["request_id"])
        await asked
        async with asyncio.timeout(30):
            while await page.notifications():  # noqa: ASYNC110 - the browser tells nobody
                await asyncio.sleep(0.05)
        # The choice is this browser's, and outlives the page.
        assert await page.run("localStorage.getItem('ccproxy-sound')") == "on"
        # Refused are the dashboard's questions to analytics, and Web Push, which is switched off
        # here; nothing else may be.
        complaints = await asyncio.to_thread(browser.complaints)
        refused = ("status of 503", "/permissions/notifications/key")
        assert [each for each in complaints if not any(word in each for word in refused)] == []
