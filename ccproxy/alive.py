"""`ccproxy alive SERVICE`: a container's health check. Asks the process in the same container, not the whole stack."""

from __future__ import annotations

import asyncio
import socket

from ccproxy.console import say
from ccproxy.exits import DONE, FAILED
from ccproxy.readiness import get
from shared.bus import Bus
from shared.errors import BusUnavailable
from shared.log import configure_log
from shared.settings import Settings, load_settings

ANSWER_SECONDS = 5.0


def is_alive(service: str) -> int:
    """0 when it is; says why not otherwise."""
    settings = load_settings()
    configure_log(level="ERROR", style="auto", service="alive", instance=socket.gethostname())
    problem = asyncio.run(gateway_problem(settings) if service == "gateway" else bus_problem(service, settings))
    if problem:
        say(problem)
    return FAILED if problem else DONE


async def gateway_problem(settings: Settings) -> str:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            status, _ = await get("127.0.0.1", settings.server.port, "/health/live", settings)
    except (OSError, TimeoutError, EOFError) as error:
        return f"The gateway does not answer: {error or type(error).__name__}"
    return "" if status == 200 else f"The gateway answers HTTP {status}."


async def bus_problem(service: str, settings: Settings) -> str:
    """A service shows itself on the bus under its host's name, which is the container's."""
    here = socket.gethostname()
    try:
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            Bus(settings.redis.address(), service="alive", instance=here) as bus,
        ):
            processes = await bus.processes()
    except (BusUnavailable, TimeoutError) as error:
        return str(error) or "Redis does not answer."
    mine = [each for each in processes if each["service"] == service and str(each["instance"]).startswith(here)]
    return "" if mine else f"No {service} of {here} shows itself on the bus."
