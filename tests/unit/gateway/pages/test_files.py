"""Pages come from the package, whole, under a policy that lets nothing else in."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from gateway.pages.files import HEADERS, render_page
from gateway.routes.dashboard import PARTS
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
    assert sum(len(text.encode()) for text in parts.values()) < 100_000
    for name, text in parts.items():
        named = set(re.findall(r"https?://[^\s\"')]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not named, name
        assert not re.search(r"style=|\son\w+=\"|<script>|eval\(|innerHTML", text), name


def test_the_policy_lets_no_inline_code_in() -> None:
    assert "unsafe" not in HEADERS["content-security-policy"]
