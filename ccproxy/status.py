"""`ccproxy status`: whether the stack of this run directory runs, and what it says of its own health."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from ccproxy.console import say
from ccproxy.exits import DONE, FAILED, NOT_RUNNING
from ccproxy.output import show_json, show_table
from ccproxy.readiness import checks_of, get
from ccproxy.rundir import holder, is_alive
from shared.settings import Settings, load_settings

ANSWER_SECONDS = 5.0


def show(*, as_json: bool) -> int:
    """Print it and return the exit code: 0 all well (or worth a note), 1 something is missing, 3 not running."""
    settings = load_settings()
    running = holder(settings.server.run_dir)
    if not is_alive(running.get("pid")):
        if as_json:
            show_json({"running": False})
        else:
            say(f"CCProxy is not running (in {settings.server.run_dir}); start it with `ccproxy serve`.")
        return NOT_RUNNING
    health = asyncio.run(ask(running.get("url") or "", settings))
    if as_json:
        show_json({"running": True, **running, "health": health})
    else:
        say(f"CCProxy {health.get('version', '')} runs at {running.get('url')} (pid {running['pid']}).")
        rows = [(name.replace("_", " "), status, output) for name, status, output in checks_of(health)]
        show_table(("PART", "", "SAYS"), rows or [("gateway", str(health["status"]), health["output"])])
    return FAILED if health.get("status") == "fail" else DONE


async def ask(url: str, settings: Settings) -> dict[str, Any]:
    """The gateway's own account; a failing one when there is none."""
    address = urlsplit(url)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            code, body = await get(address.hostname or "", address.port or 0, "/health", settings)
            answer = json.loads(body)
    except (OSError, ValueError, TimeoutError, EOFError) as error:
        return {"status": "fail", "output": f"does not answer: {error or type(error).__name__}"}
    if code >= 400:
        return {"status": "fail", "output": f"refuses to say (HTTP {code}); is SECURITY__AUTH_TOKEN the same here?"}
    if "checks" not in answer:
        without = "tells nothing but its status without the right token; is SECURITY__AUTH_TOKEN the same here?"
        return {"status": answer.get("status", "fail"), "output": without}
    found: dict[str, Any] = answer
    return found
