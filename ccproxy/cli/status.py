"""`ccproxy status`: the running stack and its health.

A stack is found as `ccproxy/cli/found_stack.py` says; in the end, as in a container, by a gateway
that answers at the address of the settings.
"""

from __future__ import annotations

from typing import Any

import httpx

from ccproxy.cli.capture_view import switches_in_words
from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, FAILED, NOT_RUNNING
from ccproxy.cli.found_stack import FoundStack, find_stack, listing
from ccproxy.cli.gateway import Unanswered, connection_to, not_running
from ccproxy.cli.output import show_json, show_line, show_table
from ccproxy.launcher.readiness import checks_of
from shared.settings.tree import Settings, load_settings

ANSWER_SECONDS = 5.0


def show_status(*, as_json: bool) -> int:
    """Print the status. Return 0 for well (or worth a note), 1 for a missing part, 3 for not
    running. Raises SeveralStacks.
    """
    settings = load_settings()
    stack = find_stack(settings)
    if not is_running(stack):
        if as_json:
            show_json({"running": False})
        else:
            say(not_running(stack).message)
        return NOT_RUNNING
    health = ask_status(stack)
    if as_json:
        show_json({"running": True, **stack.facts(), "health": health})
    else:
        started = f"pid {stack.pid}" if stack.pid else "not started from this run directory"
        name = (
            "The demo of CCProxy" if stack.running and stack.running.kind == "demo" else "CCProxy"
        )
        say(f"{name} {health.get('version', '')} runs at {stack.url} ({started}).")
        rows = [
            (name.replace("_", " "), status, output) for name, status, output in checks_of(health)
        ]
        show_table(
            ("PART", "", "SAYS"),
            rows or [("gateway", str(health["status"]), health["output"])],
            joined=True,
        )
        if captured := captured_in_words(stack):
            show_line(captured)
        if stack.others:
            say(f"Also running: {listing(stack.others)}; --url chooses.")
    return FAILED if health.get("status") == "fail" else DONE


def captured_in_words(stack: FoundStack) -> str:
    """Return what is being captured, as a sentence; an empty text while capture is off, or a
    gateway does not say.
    """
    try:
        with connection_to(stack) as client:
            answer = client.get("/captures/switches", timeout=ANSWER_SECONDS)
            state: Any = answer.json() if answer.is_success else {}
    except (Unanswered, ValueError):
        return ""
    return switches_in_words(state) if state.get("on") else ""


def is_running(stack: FoundStack) -> bool:
    """Return True if the launcher of `stack` lives, or a gateway answers at the address."""
    if stack.pid:
        return True
    health = ask_status(stack)
    # another program may have the port, unless the owner named the address
    named = stack.found_by == "--url" and health.get("status") != "fail"
    return named or {"checks", "version"} <= health.keys()


def find_running(settings: Settings) -> FoundStack | None:
    """Return the stack to speak to if it runs, else None. Raises SeveralStacks."""
    stack = find_stack(settings)
    return stack if is_running(stack) else None


def required_stack(settings: Settings) -> FoundStack:
    """Return the stack to speak to. Raises NotRunning, SeveralStacks."""
    stack = find_stack(settings)
    if not is_running(stack):
        raise not_running(stack)
    return stack


def ask_status(stack: FoundStack) -> dict[str, Any]:
    """Return the gateway's account of the stack; a failing account without a gateway."""
    try:
        with connection_to(stack) as client:
            reply = client.get("/health", timeout=ANSWER_SECONDS)
            answer: Any = reply.json()
    except Unanswered as error:
        # A stack whose launcher lives is running, whatever its gateway does.
        return {"status": "fail", "output": "does not answer" if stack.pid else error.message}
    except ValueError:
        return {"status": "fail", "output": "answers, but not as CCProxy does"}
    if not isinstance(answer, dict) or (
        reply.status_code >= httpx.codes.BAD_REQUEST and "checks" not in answer
    ):
        says = f"refuses to say (HTTP {reply.status_code}); is SECURITY__AUTH_TOKEN the same here?"
        return {"status": "fail", "output": says}
    if "checks" not in answer:
        without = (
            "tells nothing but its status without the right token; give --token, or set "
            "SECURITY__AUTH_TOKEN"
        )
        return {"status": answer.get("status", "fail"), "output": without}
    return answer
