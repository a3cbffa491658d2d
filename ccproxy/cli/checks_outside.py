"""The checks of programs and servers outside: the programs the stack needs, the providers, a
reverse proxy in front.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable
from email.utils import parsedate_to_datetime

import httpx

from ccproxy.cli.checks import Finding, Machine, Status
from ccproxy.cli.checks_models import look_at_models
from ccproxy.cli.key_use import key_use_lines
from ccproxy.cli.status import ask_status
from ccproxy.launcher.programs import worker_description
from ccproxy.launcher.readiness import checks_of
from ccproxy.launcher.redis_server import OLDEST
from shared.accounts.accounts import ClaudeAccount, CodexAccount
from shared.accounts.codex_profile import CLIENT_VERSION, CodexProfile
from shared.accounts.routes import credentials_of_routes
from shared.bus.probe import sentinel_report, server_version
from shared.runtime.errors import BusUnavailable
from shared.settings.redis_address import is_sentinel_url

ANSWER_SECONDS = 8.0
SKEW_SECONDS = 60.0
SLACK_SECONDS = 5.0
FEWEST_SENTINELS = 3  # two of which can still agree
STORED = "stored_responses"  # the name of the gateway's check


async def look_at_redis_server(machine: Machine) -> list[Finding]:
    url = machine.settings.redis.url
    if url is None:
        return []
    try:
        version = await server_version(url.get_secret_value())
    except BusUnavailable as error:
        return [
            Finding(
                "redis",
                "fail",
                error.message,
                "Start it, or unset REDIS__URL to have one started here.",
            )
        ]
    said = f"the server of REDIS__URL is version {'.'.join(map(str, version))}"
    if version < OLDEST:
        return [
            Finding(
                "redis",
                "fail",
                f"{said}; 6.2 or newer is needed",
                "Update it, or unset REDIS__URL.",
            )
        ]
    return [Finding("redis", "pass", said)]


async def look_at_sentinels(machine: Machine) -> list[Finding]:
    """Report whether Redis would survive the loss of a host, by the answers of the sentinels."""
    url = machine.settings.redis.url
    if url is None or not is_sentinel_url(url.get_secret_value()):
        return []
    report = await sentinel_report(url.get_secret_value())
    says = f"{report.answering} of {report.listed} sentinels answer"
    if not report.is_majority:
        fix = "Start the others: without most of them no other primary is chosen."
        return [Finding("sentinels", "fail", says, fix)]
    if report.listed < FEWEST_SENTINELS:
        fix = "Run three on three hosts and list all of them in REDIS__URL."
        return [Finding("sentinels", "warn", f"{says}; the loss of one stops them", fix)]
    if report.replicas == 0:
        fix = "Start a replica; see docs/how-to/redis-sentinel.md."
        return [Finding("sentinels", "warn", f"{says}, and they know no replica", fix)]
    status: Status = "pass" if report.answering == report.listed else "warn"
    return [Finding("sentinels", status, f"{says}; replicas: {report.replicas}")]


async def look_at_claude_program(machine: Machine) -> list[Finding]:
    """Report the `claude` program of the workers, as named by a worker."""
    if machine.settings.sdk.workers == 0 or machine.runs_in_parts:
        return []
    found = await asyncio.to_thread(worker_description)
    if found["problem"]:
        return [
            Finding(
                "claude program", "fail", found["problem"], "Or switch /sdk off: SDK__WORKERS=0."
            )
        ]
    return [Finding("claude program", "pass", f"{found['program']}, version {found['version']}")]


async def look_at_codex_program(machine: Machine) -> list[Finding]:
    """Report the `codex` program, the source of Codex's instructions and models."""
    codex = machine.settings.codex
    if not codex.enabled:
        return []
    about = "codex program"
    fix = "Install the newest: `npm install -g @openai/codex@latest`."
    if not (program := codex.cli_path or shutil.which("codex")):
        if codex.system_prompt_injection_mode != "disabled":
            says = (
                "the Codex program is not installed; a neutral sentence is injected in place of "
                "its instructions"
            )
            return [Finding(about, "warn", says, fix)]
        says = (
            "the Codex program is not installed; it is not needed, `ccproxy auth login-openai` "
            "logs in without it"
        )
        return [Finding(about, "pass", says)]
    profile = await CodexProfile(codex).get()
    if profile is None:
        return [Finding(about, "warn", f"{program} does not tell its version and models", fix)]
    if numbers(profile.version) < numbers(CLIENT_VERSION):
        says = (
            f"{program} is version {profile.version}; the backend shows it fewer models than "
            f"{CLIENT_VERSION}"
        )
        return [Finding(about, "warn", says, fix)]
    return [Finding(about, "pass", f"{program}, version {profile.version}")]


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


async def look_at_credentials(machine: Machine) -> list[Finding]:
    """Report the credential that pays on each route, in the words of `/health`. None at all is
    wrong.
    """
    settings = machine.settings
    routes = await credentials_of_routes(
        settings, ClaudeAccount(settings.claude), CodexAccount(settings.codex)
    )
    is_any_served = any(each.state.status == "pass" for each in routes)
    return [
        Finding(
            each.route,
            known(each.status if is_any_served or each.state.source else "fail"),
            each.state.output,
        )
        for each in routes
    ]


async def look_at_billing_order(machine: Machine) -> list[Finding]:
    """Report what each API key that pays after a subscription has spent today."""
    lines = await asyncio.to_thread(key_use_lines, machine.settings)
    return [Finding("billing order", "pass", line) for line in lines]


def known(status: str) -> Status:
    return "pass" if status == "pass" else "fail" if status == "fail" else "warn"


async def look_at_providers(machine: Machine) -> list[Finding]:
    settings = machine.settings
    urls = {"claude": settings.claude.base_url}
    if settings.codex.enabled:
        urls["codex"] = settings.codex.base_url
    async with httpx.AsyncClient(timeout=ANSWER_SECONDS) as client:
        found = await asyncio.gather(
            *(look_at_provider(client, name, url) for name, url in urls.items())
        )
    return [finding for findings in found for finding in findings]


async def look_at_provider(client: httpx.AsyncClient, name: str, url: str) -> list[Finding]:
    """Check that the provider can be reached. Any answer will do: the request is empty and carries
    no credential.
    """
    about = f"{name} provider"
    try:
        answer = await client.head(url)
    except httpx.HTTPError as error:
        says = f"{url} cannot be reached: {str(error) or type(error).__name__}"
        return [
            Finding(
                about, "fail", says, "Check the network, DNS, and HTTPS_PROXY if one is needed."
            )
        ]
    findings = [Finding(about, "pass", f"{url} answers")]
    skew = clock_skew(answer.headers.get("date", ""))
    if abs(skew) > SKEW_SECONDS:
        says = f"this machine is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} {url}"
        findings.append(
            Finding(
                "clock",
                "warn",
                f"{says}; logins seem older or younger than they are",
                "Set the clock (NTP).",
            )
        )
    return findings


def clock_skew(date: str) -> float:
    """Return the seconds of the remote clock ahead of our clock; 0 without a date."""
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return 0.0


async def look_at_stack(machine: Machine) -> list[Finding]:
    """Report the complaints of the running stack about itself."""
    if machine.stack is None:
        return []
    health = await asyncio.to_thread(ask_status, machine.stack)
    if "checks" not in health:
        return [
            Finding(
                "stack", "fail", str(health["output"]), "See its log; `ccproxy status` asks again."
            )
        ]
    troubled = [
        (name, status, output) for name, status, output in checks_of(health) if status != "pass"
    ]
    told = [
        Finding("stored responses", "pass", says)
        for name, _, says in checks_of(health)
        if name == STORED
    ]
    if not troubled:
        return [
            Finding("stack", "pass", f"runs at {machine.running}, and complains of nothing"),
            *told,
        ]
    return [
        *(Finding(f"stack: {name}", known(status), output) for name, status, output in troubled),
        *told,
    ]


async def look_through_proxy(machine: Machine, url: str) -> list[Finding]:
    """Check the arrival of a second event while the stream stays open; a buffering proxy keeps the
    event back.

    The first event proves nothing: it travels with the reply's head.
    """
    configured = machine.settings.security.auth_token
    token = machine.stack.token if machine.stack else ""
    token = token or (configured.get_secret_value() if configured else "")
    headers = {"x-api-key": token} if token else {}
    about = "reverse proxy"
    address = f"{url.rstrip('/')}/permissions/stream"
    timeout = machine.settings.server.ping_interval_seconds + SLACK_SECONDS
    try:
        async with (
            asyncio.timeout(timeout),
            httpx.AsyncClient(timeout=None) as client,  # noqa: S113 - the line above is the timeout
            client.stream("GET", address, headers=headers) as reply,
        ):
            if reply.status_code != httpx.codes.OK:
                says = f"{address} answers HTTP {reply.status_code}"
                return [
                    Finding(
                        about,
                        "fail",
                        says,
                        "Pass Host on, and put that name into SECURITY__ALLOWED_HOSTS.",
                    )
                ]
            events = reply.aiter_raw()
            if not (await anext(events, b"") and await anext(events, b"")):
                return [
                    Finding(
                        about,
                        "fail",
                        f"{url} ends streams early",
                        "Raise its time limit for replies.",
                    )
                ]
    except TimeoutError:
        fix = (
            "nginx: `proxy_buffering off;` and `proxy_http_version 1.1;`; "
            "docs/how-to/reverse-proxy.md has the rest."
        )
        return [Finding(about, "fail", f"{url} holds streams back", fix)]
    except httpx.HTTPError as error:
        return [
            Finding(
                about,
                "fail",
                f"{url} cannot be reached: {str(error) or type(error).__name__}",
                "Check its address.",
            )
        ]
    return [Finding(about, "pass", f"streams come through {url} at once")]


OUTSIDE: Iterable[Callable[[Machine], Awaitable[list[Finding]]]] = (
    look_at_redis_server,
    look_at_sentinels,
    look_at_claude_program,
    look_at_codex_program,
    look_at_credentials,
    look_at_billing_order,
    look_at_providers,
    look_at_stack,
    look_at_models,
)
