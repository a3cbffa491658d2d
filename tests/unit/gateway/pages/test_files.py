"""Pages come from the package, whole, under a policy that lets nothing else in."""

from __future__ import annotations

import json
import re
import struct
from importlib.resources import files

import pytest

from gateway.pages.files import HEADERS, render_page
from gateway.routes.dashboard import PARTS
from gateway.routes.permissions import INSTALLING
from gateway.routes.permissions import PAGE as PHONE_PAGE
from shared.runtime.errors import NotFound


def test_a_page_comes_with_its_kind_and_its_policy() -> None:
    answer = render_page("dashboard.js", PARTS)
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith(
        "default-src 'none'; script-src 'self'"
    )
    assert answer.body == files("gateway").joinpath("pages", "dashboard.js").read_bytes()


@pytest.mark.parametrize("name", ["../app.py", "permissions.html", "", "dashboard"])
def test_nothing_but_its_own_parts_is_served(name: str) -> None:
    with pytest.raises(NotFound):
        render_page(name, PARTS)


def test_the_dashboard_is_small_and_asks_nobody_else() -> None:
    parts = {name: bytes(render_page(name, PARTS).body).decode() for name in PARTS}
    assert sum(len(text.encode()) for text in parts.values()) < 180_000
    for name, text in parts.items():
        named = set(re.findall(r"https?://[^\s\"')]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not named, name
        assert not re.search(r"style=|\son\w+=\"|<script>|eval\(|innerHTML", text), name


def test_the_policy_lets_no_inline_code_in() -> None:
    assert "unsafe" not in HEADERS["content-security-policy"]


def test_an_icon_comes_as_the_bytes_of_its_kind() -> None:
    answer = render_page("icon-192.png", PHONE_PAGE)
    assert answer.headers["content-type"] == "image/png"
    assert bytes(answer.body).startswith(b"\x89PNG")


def test_the_manifest_meets_the_criteria_of_an_installable_page() -> None:
    answer = render_page("manifest.webmanifest", INSTALLING)
    assert answer.headers["content-type"] == "application/manifest+json"
    manifest = json.loads(bytes(answer.body))
    assert manifest["display"] == "standalone"
    assert manifest["start_url"] == manifest["scope"] == "/permissions/ui"
    for icon in manifest["icons"]:
        content = bytes(render_page(icon["src"].rpartition("/")[2], PHONE_PAGE).body)
        if icon["type"] == "image/png":
            # Width and height stand in the first chunk of a PNG.
            assert "{}x{}".format(*struct.unpack(">II", content[16:24])) == icon["sizes"]
    assert {icon["sizes"] for icon in manifest["icons"]} >= {"192x192", "512x512"}


def test_the_service_worker_stores_nothing() -> None:
    script = bytes(render_page("service-worker.js", INSTALLING).body).decode()
    assert not re.search(r"caches|indexedDB|importScripts", script)
