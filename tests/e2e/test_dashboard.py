"""The dashboard in a real browser, on the whole stack: what happens shows, and a tool that waits
gets its answer.
"""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from tests.browser import Browser
from tests.e2e.stack import Stack

pytestmark = pytest.mark.timeout(180)


def ask(stack: Stack, door: str, text: str, model: str = "claude-sonnet-5-5") -> httpx.Response:
    body: dict[str, Any] = {"model": model, "max_tokens": 100}
    body["messages"] = [{"role": "user", "content": text}]
    return httpx.post(f"{stack.url}{door}/v1/messages", json=body, timeout=90, trust_env=False)


def test_a_request_shows_as_it_ends_and_in_every_sum(stack: Stack, browser: Browser) -> None:
    browser.go(f"{stack.url}/dashboard")
    browser.until("return document.getElementById('live-state').textContent === 'live'")
    assert ask(stack, "/api", "Hello").status_code == 200
    browser.until(
        "return document.querySelector('#rows tr.new')?.textContent.includes('/api/v1/messages')"
    )

    def ask_slowly() -> None:
        for _ in range(
            2
        ):  # a gateway may learn only a second after the first that somebody looks on
            ask(stack, "/api", "Hello", model="claude-sim-slow-100x15")

    asking = threading.Thread(target=ask_slowly)
    asking.start()
    browser.until(
        "return document.querySelector('#rows tr.running')?.textContent.includes('claude-sim-slow')"
    )
    asking.join()
    browser.until(
        "return document.querySelector('#rows tr.new')?.textContent.includes('claude-sim-slow')"
    )
    browser.until("return !document.querySelector('#rows tr.running')")
    browser.run("document.querySelector('input[value=\"1\"]').click()")
    browser.until(
        "return document.querySelector('#by-model')?.textContent.includes('claude-sonnet-5-5')"
    )
    browser.until("return document.querySelectorAll('#requests rect').length > 0")
    assert browser.run("return document.getElementById('health').className") in {"pass", "warn"}
    assert browser.complaints() == []


def test_a_chart_is_read_with_the_arrow_keys(stack: Stack, browser: Browser) -> None:
    ask(stack, "/api", "Hello")
    browser.go(f"{stack.url}/dashboard")
    browser.until("return document.querySelector('#requests svg')")
    browser.run("document.querySelector('#requests svg').focus()")
    browser.press("ArrowLeft")
    assert "answered" in browser.until(
        "return document.querySelector('#requests .readout').textContent"
    )
    browser.press("Escape")
    browser.until("return document.querySelector('#requests .readout').textContent === ''")


def test_a_tool_that_waits_is_allowed_by_a_click(stack: Stack, browser: Browser) -> None:
    browser.go(f"{stack.url}/dashboard")
    answers: list[httpx.Response] = []
    tool = '[[tool:Bash {"command": "touch made-here", "description": "Say it"}]]'
    asking = threading.Thread(target=lambda: answers.append(ask(stack, "/sdk", tool)), daemon=True)
    asking.start()
    browser.until(
        "return document.querySelector('#prompts pre')?.textContent.includes('touch made-here')"
    )
    assert browser.run("return document.title").startswith("(1)")
    browser.click("#prompts .allow")
    asking.join(90)
    assert answers[0].status_code == 200
    browser.until("return document.getElementById('permissions').hidden")
    assert browser.complaints() == []


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_cut_off_at_any_width(
    stack: Stack, browser: Browser, dark: bool, width: int
) -> None:
    browser.dress(dark=dark, width=width)
    browser.go(f"{stack.url}/dashboard")
    browser.until("return document.querySelector('#latency svg')")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    paper = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(22, 20, 15)") == dark
