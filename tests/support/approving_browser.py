"""A browser whose owner approves: `BROWSER="python approving_browser.py %s"`."""

from __future__ import annotations

import sys

import httpx

from tests.support.logins import approve

with httpx.Client(trust_env=False) as browser:
    browser.get(approve(sys.argv[1]).headers["location"])
