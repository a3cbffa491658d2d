"""The phone page in a real browser, as an installed page: what is open without a token, the criteria
of installation, the offline notice, and buttons that stay where they are.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.contract.conftest import OpenGateway
from tests.support.browser import Browser
from tests.support.permission_stack import running_desk, running_front

pytestmark = pytest.mark.long

OPEN = (
    "/pair/pair.js",
    "/permissions/manifest.webmanifest",
    "/permissions/service-worker.js",
    "/permissions/ui/icon.svg",
    "/permissions/ui/icon-192.png",
    "/permissions/ui/icon-512.png",
)
CLOSED = (
    "/pair/pair.html",
    "/permissions",
    "/permissions/ui",
    "/permissions/ui/permissions.js",
    "/permissions/ui/icon-1024.png",
    "/permissions/stream",
    "/permissions/manifest.json",
)


async def test_manifest_icons_and_service_worker_need_no_token_and_nothing_else_opens(
    open_gateway_at: OpenGateway,
) -> None:
    url = await open_gateway_at(security={"auth_token": "an-owner-token-of-enough-characters"})
    async with httpx.AsyncClient(base_url=url) as client:
        for path in OPEN:
            assert (await client.get(path)).status_code == 200, path
            foreign = await client.get(path, headers={"sec-fetch-site": "cross-site"})
            assert foreign.status_code == 403, path
        for path in CLOSED:
            assert (await client.get(path)).status_code == 401, path


async def test_chromium_finds_the_page_installable_and_shows_the_offline_notice(
    redis_url: str, tmp_path: Path, browser: Browser
) -> None:
    def load(url: str) -> None:
        browser.dress(width=390, height=844, dark=True)
        browser.go(url)
        browser.until("return navigator.serviceWorker.controller !== null")
        browser.until_text("Nothing is waiting for you.")
        assert browser.command("Page.getAppManifest")["errors"] == []
        assert browser.command("Page.getInstallabilityErrors")["installabilityErrors"] == []
        assert browser.complaints() == []
        assert browser.run("return caches.keys().then((names) => names.length)") == 0

    def load_offline(url: str) -> None:
        browser.go(url)
        browser.until_text("CCProxy cannot be reached")
        # The notice has its style: its policy let it in.
        assert browser.run("return getComputedStyle(document.body).display") == "grid"

    async with running_desk(redis_url, tmp_path / "rules.toml"):
        async with running_front(redis_url) as front:
            url = f"{front.client.base_url}/permissions/ui"
            await asyncio.to_thread(load, url)
        await asyncio.to_thread(load_offline, url)


async def test_a_tap_on_the_pairing_link_signs_in_one_browser_and_no_second(
    redis_url: str, tmp_path: Path, browser: Browser
) -> None:
    phone = {"name": "phone", "token": "phone-secret-token", "scopes": ["approve"]}
    security = {"auth_token": "an-owner-token-of-enough-characters", "tokens": [phone]}

    def tap(link: str) -> None:
        browser.dress(width=390, height=844, dark=True)
        browser.go(link)
        # The secret has left the address, and opening the link redeemed nothing.
        browser.until("return location.hash === '' && !document.getElementById('pair').disabled")
        browser.click("#pair")
        browser.until("return location.pathname === '/permissions/ui'")
        browser.until_text("Nothing is waiting for you.")
        assert browser.complaints() == []

    async with (
        running_desk(redis_url, tmp_path / "rules.toml"),
        running_front(redis_url, security=security) as front,
    ):
        made = await front.client.post(
            "/permissions/pairings", json={}, headers={"x-api-key": "phone-secret-token"}
        )
        secret = made.json()["secret"]
        assert (await front.client.get("/pair")).status_code == 200
        await asyncio.to_thread(tap, f"{front.client.base_url}/pair#{secret}")
        again = await front.client.post(
            "/pair", data={"secret": secret}, headers={"sec-fetch-site": "same-origin"}
        )
        assert again.status_code == 401
        assert "Run `ccproxy phone` again" in again.text
