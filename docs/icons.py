"""Draws the PNG icons of the phone page from gateway/pages/icon.svg: `python docs/icons.py`.

Browsers that install the page want PNG in two sizes (192 and 512 pixels); the SVG is the original.
The picture keeps to the inner circle of 80 %, so that a system may cut the corners off.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.support.browser import running_browser

PAGES = Path(__file__).parent.parent / "gateway" / "pages"
SIZES = (192, 512)  # pixels, as Chromium's criteria for an installable page ask


def draw_icons() -> None:
    """Write `icon-SIZE.png` for each of SIZES."""
    with tempfile.TemporaryDirectory() as profile, running_browser(Path(profile)) as browser:
        browser.go((PAGES / "icon.svg").as_uri())
        for size in SIZES:
            scaled = {"width": size, "height": size, "deviceScaleFactor": 1, "mobile": False}
            browser.command("Emulation.setDeviceMetricsOverride", **scaled)
            browser.screenshot(PAGES / f"icon-{size}.png")


if __name__ == "__main__":
    sys.exit(draw_icons())
