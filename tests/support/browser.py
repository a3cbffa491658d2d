"""A real browser for tests, spoken to over WebDriver with nothing but an HTTP client. Skips where
there is none.
"""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
ELEMENT = (
    "element-6066-11e4-a52e-4f735466cecf"  # the name the WebDriver standard gives to a reference
)
DEADLINE_SECONDS = 30.0
PHONE = (412, 915)


class Browser:
    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=DEADLINE_SECONDS, trust_env=False)
        self._session = ""
        self.debugger = ""  # host and port of the developer tools

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._client.request(
            method, f"{self._session}{path}", json=body if method == "POST" else None
        )
        value = answer.json()["value"]
        if answer.is_error:
            raise LookupError(value.get("message"))
        return value

    def open_session(self, profile: Path) -> None:
        options = {
            "args": [*FLAGS, f"--user-data-dir={profile}"],
            "binary": shutil.which("chromium"),
        }
        wanted = {
            "capabilities": {
                "alwaysMatch": {
                    "goog:chromeOptions": options,
                    "goog:loggingPrefs": {"browser": "ALL"},
                }
            }
        }
        opened = self._ask("POST", "/session", wanted)
        self._session = f"/session/{opened['sessionId']}"
        self.debugger = opened["capabilities"]["goog:chromeOptions"]["debuggerAddress"]
        width, height = PHONE
        self._ask("POST", "/window/rect", {"width": width, "height": height})

    def go(self, url: str) -> None:
        self._ask("POST", "/url", {"url": url})

    def find(self, selector: str) -> str:
        """The element, as soon as it is there and shown."""

        def shown() -> str:
            try:
                found: str = self._ask(
                    "POST", "/element", {"using": "css selector", "value": selector}
                )[ELEMENT]
                return found if self._ask("GET", f"/element/{found}/displayed") else ""
            except LookupError:
                return ""

        return self._until(shown, selector)

    def text(self, selector: str = "body") -> str:
        return str(self._ask("GET", f"/element/{self.find(selector)}/text"))

    def until_text(self, words: str, selector: str = "body") -> None:
        self._until(lambda: words in self.text(selector), words)

    def click(self, selector: str) -> None:
        """Once it can be clicked."""

        def clicked() -> bool:
            element = self.find(selector)
            try:
                if self._ask("GET", f"/element/{element}/enabled"):
                    self._ask("POST", f"/element/{element}/click", {})
                    return True
            except LookupError:  # replaced meanwhile
                pass
            return False

        self._until(clicked, selector)

    def type(self, selector: str, text: str) -> None:
        element = self.find(selector)
        self._ask("POST", f"/element/{element}/clear", {})
        self._ask("POST", f"/element/{element}/value", {"text": text})

    def run(self, script: str) -> Any:
        return self._ask("POST", "/execute/sync", {"script": script, "args": []})

    def until(self, script: str) -> Any:
        """The script's first truthy result."""
        return self._until(lambda: self.run(script), script)

    def command(self, name: str, **parameters: Any) -> Any:
        """One of the developer tools' own commands."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def dress(self, *, dark: bool = False, width: int = 1280, height: int = 900) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **size)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def complaints(self) -> list[str]:
        """What the page's console says is wrong: errors, and whatever the content
        policy stopped.
        """
        return [
            entry["message"]
            for entry in self._ask("POST", "/se/log", {"type": "browser"})
            if entry["level"] == "SEVERE"
        ]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def close(self) -> None:
        if self._session:
            self._ask("DELETE", "")
        self._client.close()

    def _until(self, condition: Callable[[], Any], what: str) -> Any:
        late = time.monotonic() + DEADLINE_SECONDS
        while not (found := condition()):
            assert time.monotonic() < late, f"{what!r} was not seen"
            time.sleep(0.05)
        return found


@contextmanager
def running_browser(profile: Path) -> Iterator[Browser]:
    driver = shutil.which("chromedriver")
    if driver is None or shutil.which("chromium") is None:
        pytest.skip("needs chromium and chromedriver")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        browser = Browser(f"http://127.0.0.1:{port}")
        try:
            late = time.monotonic() + DEADLINE_SECONDS
            while True:
                try:
                    browser.open_session(profile)
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < late, "chromedriver did not start"
                    time.sleep(0.05)
            yield browser
        finally:
            browser.close()
            process.terminate()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """One of the test's own."""
    with running_browser(tmp_path / "profile") as opened:
        yield opened
