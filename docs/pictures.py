"""Takes the pictures of README and docs from a running `ccproxy demo`: `make pictures`.

The traffic is the simulator's, so no picture shows anything of the owner's. Each picture is taken
twice, for light and dark pages, at two pixels to one, and replaces the file in docs/pictures/.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.browser import Browser, running_browser

PICTURES = Path(__file__).parent / "pictures"
COMMAND = "npm run build && rsync -av --delete dist/ web@example.org:/srv/www/"
# Route and format, model and prompt of each request, and how often it is sent.
TRAFFIC = (
    ("/api/v1/messages", "claude-sonnet-5-5", "[[scenario:long-30]]", 14),
    ("/api/v1/messages", "claude-opus-5-5", "[[scenario:thinking]]", 6),
    ("/api/v1/chat/completions", "claude-haiku-5-5", "[[scenario:long-10]]", 9),
    ("/codex/v1/chat/completions", "gpt-5.5", "[[scenario:long-20]]", 11),
    ("/api/v1/messages", "claude-sonnet-5-5", "[[scenario:error]]", 2),
    ("/sdk/v1/messages", "claude-sonnet-5-5", "[[say:Done.]]", 2),
)
CLIENTS = ("claude-cli/2.1.330 (external, cli)", "aider/0.86.2", "Anthropic/Python 2.12.0")
TURN_SECONDS = 12.0  # between two turns of the traffic: the charts have a bar for each minute
STILL_SECONDS = 3.0  # a page whose text stays the same for so long is complete


@dataclass(frozen=True, slots=True)
class Picture:
    """One page and its file. `words` are shown once the page is loaded; sizes are CSS pixels."""

    name: str
    path: str
    words: str
    width: int
    height: int

    def take(self, browser: Browser, url: str, scheme: str) -> None:
        """Write docs/pictures/NAME-SCHEME.png; `scheme` is `light` or `dark`."""
        preference = {"name": "prefers-color-scheme", "value": scheme}
        size = {"width": self.width, "height": self.height}
        browser.command("Emulation.setEmulatedMedia", features=[preference])
        browser.command(
            "Emulation.setDeviceMetricsOverride",
            **size,
            deviceScaleFactor=2,
            mobile=self.width < 600,
        )
        browser.command("Emulation.setScrollbarsHidden", hidden=True)
        browser.go(f"{url}{self.path}")
        browser.until(f"return document.body.innerText.includes({self.words!r})")
        wait_until_still(browser)
        browser.screenshot(PICTURES / f"{self.name}-{scheme}.png")


# The words that a loaded page shows, its width and its height.
DASHBOARD = Picture("dashboard", "/dashboard?hours=0.25", "claude-sonnet-5-5", 1280, 860)
REQUESTS = Picture(
    "requests", "/dashboard?view=requests&hours=0.25", "claude-sonnet-5-5", 1280, 620
)
SIGNALS = Picture("signals", "/permissions/ui", "Nothing is waiting", 412, 400)
APPROVAL = Picture("approval", "/permissions/ui", "npm run build", 412, 560)


def take_both(picture: Picture, browser: Browser, url: str) -> None:
    for scheme in ("light", "dark"):
        picture.take(browser, url, scheme)


def wait_until_still(browser: Browser) -> None:
    """Return once the text of the page, numbers aside, has not changed for STILL_SECONDS."""
    before = None
    while (text := browser.run("return document.body.innerText.replace(/[0-9]/g, '')")) != before:
        before = text
        time.sleep(STILL_SECONDS)


def body_of(model: str, text: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": model, "max_tokens": 1000, "messages": messages}


def send_traffic(client: httpx.Client) -> None:
    """Send the requests of TRAFFIC, each spread evenly over the turns; takes three minutes."""
    turns = max(times for *_, times in TRAFFIC)
    for turn in range(turns):
        for number, (path, model, text, times) in enumerate(TRAFFIC):
            if (turn + 1) * times // turns > turn * times // turns:
                program = CLIENTS[(turn + number) % len(CLIENTS)]
                headers = {
                    "user-agent": program,
                    "x-claude-code-session-id": str(uuid.uuid5(uuid.NAMESPACE_URL, path + text)),
                }
                client.post(path, json=body_of(model, text), headers=headers)
        time.sleep(TURN_SECONDS)


@contextmanager
def waiting_request(client: httpx.Client) -> Iterator[None]:
    """Keep one permission request open for the block, and deny it at the end."""
    tool = {"command": COMMAND, "description": "Build the site and copy it to the server"}
    call = f"[[tool:Bash {json.dumps(tool)}]]"
    asking = threading.Thread(
        target=client.post,
        args=("/sdk/v1/messages",),
        kwargs={"json": body_of("claude-sonnet-5-5", call)},
    )
    asking.start()
    try:
        yield
    finally:
        for waiting in client.get("/permissions").json()["pending"]:
            client.post(f"/permissions/{waiting['request_id']}/respond", json={"allowed": False})
        asking.join()


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        sys.exit("The pictures need chromium and chromedriver on PATH.")
    PICTURES.mkdir(exist_ok=True)
    with (
        httpx.Client(base_url=url, timeout=120, trust_env=False) as client,
        tempfile.TemporaryDirectory() as profile,
        running_browser(Path(profile)) as browser,
    ):
        send_traffic(client)
        take_both(DASHBOARD, browser, url)
        take_both(REQUESTS, browser, url)
        take_both(SIGNALS, browser, url)
        with waiting_request(client):
            take_both(APPROVAL, browser, url)


if __name__ == "__main__":
    main()
