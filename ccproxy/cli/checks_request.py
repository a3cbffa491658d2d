"""The check that spends something: one short request through the running stack, as a client sends
it. Only `ccproxy doctor --send` makes it.
"""

from __future__ import annotations

import asyncio

from ccproxy.cli.checks import Finding, Machine
from ccproxy.cli.found_stack import FoundStack
from ccproxy.cli.gateway import Unanswered, connection_to
from ccproxy.cli.short_request import ask_model
from ccproxy.cli.status import ask_status
from ccproxy.cli.tool_environment import listed_model
from ccproxy.launcher.readiness import checks_of

ABOUT = "request"


async def look_at_request(machine: Machine) -> list[Finding]:
    """Send one request and report the reply, its time and who pays for it."""
    if machine.stack is None:
        says = "nothing was sent: no stack is running"
        return [Finding(ABOUT, "fail", says, "Start it with `ccproxy serve`.")]
    return [await asyncio.to_thread(send_request, machine.stack)]


def send_request(stack: FoundStack) -> Finding:
    """Send one request through the first route with a usable credential."""
    route = usable_route(stack)
    try:
        with connection_to(stack) as client:
            reply = ask_model(client, route, listed_model(stack, route))
    except Unanswered as error:
        return Finding(ABOUT, "fail", error.message, "`ccproxy logs query` has the record.")
    by = f", paid by {reply.billed_to.replace('_', ' ')}" if reply.billed_to else ""
    said = f"{reply.model} said {reply.text!r} after {reply.seconds:.1f} s{by}"
    return Finding(ABOUT, "pass", f"/{route}/v1/messages: {said}")


def usable_route(stack: FoundStack) -> str:
    """Return the first of /api and /codex whose credential is in order, /api if neither is."""
    states = {name: status for name, status, _ in checks_of(ask_status(stack))}
    return next((route for route in ("api", "codex") if states.get(f"/{route}") == "pass"), "api")
