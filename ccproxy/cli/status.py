"""`ccproxy status`: the running stack and its health.

A stack is found by its run directory, where `ccproxy serve` leaves its address; else, as in a
container, by a gateway that answers at the address of the settings.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, FAILED, NOT_RUNNING
from ccproxy.cli.output import show_json, show_table
from ccproxy.launcher.launch import local_url
from ccproxy.launcher.readiness import checks_of, get
from ccproxy.launcher.rundir import holder, is_alive
from shared.settings.tree import Settings, load_settings

ANSWER_SECONDS = 5.0


def show_status(*, as_json: bool) -> int:
    """Print the status. Return 0 for well (or worth a note), 1 for a missing part, 3 for not
    running.
    """
    settings = load_settings()
    running = find_running(settings)
    if not running:
        if as_json:
            show_json({"running": False})
        else:
            say(
                f"CCProxy is not running (in {settings.server.run_dir}); start it with `ccproxy "
                "serve`."
            )
        return NOT_RUNNING
    health = asyncio.run(ask_status(running.get("url") or "", settings))
    if as_json:
        show_json({"running": True, **running, "health": health})
    else:
        started = (
            f"pid {running['pid']}" if "pid" in running else "not started from this run directory"
        )
        say(f"CCProxy {health.get('version', '')} runs at {running.get('url')} ({started}).")
        rows = [
            (name.replace("_", " "), status, output) for name, status, output in checks_of(health)
        ]
        show_table(
            ("PART", "", "SAYS"), rows or [("gateway", str(health["status"]), health["output"])]
        )
    return FAILED if health.get("status") == "fail" else DONE


def find_running(settings: Settings) -> dict[str, Any]:
    """Return `url` and, for the stack of this run directory, `pid`; an empty dict when no gateway
    answers.
    """
    held = holder(settings.server.run_dir)
    if is_alive(held.get("pid")):
        return held
    url = local_url(settings.server.host, settings.server.port)
    health = asyncio.run(ask_status(url, settings))
    is_ours = {"checks", "version"} <= health.keys()  # another program may have the port
    return {"url": url} if is_ours else {}


async def ask_status(url: str, settings: Settings) -> dict[str, Any]:
    """Return the gateway's account of the stack; a failing account without a gateway."""
    address = urlsplit(url)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            code, body = await get(address.hostname or "", address.port or 0, "/health", settings)
            answer = json.loads(body)
    except (OSError, ValueError, TimeoutError, EOFError) as error:
        return {
            "status": "fail",
            "output": f"does not answer: {str(error) or type(error).__name__}",
        }
    if code >= 400:
        return {
            "status": "fail",
            "output": f"refuses to say (HTTP {code}); is SECURITY__AUTH_TOKEN the same here?",
        }
    if "checks" not in answer:
        without = (
            "tells nothing but its status without the right token; is SECURITY__AUTH_TOKEN the "
            "same here?"
        )
        return {"status": answer.get("status", "fail"), "output": without}
    found: dict[str, Any] = answer
    return found
