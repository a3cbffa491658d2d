"""`ccproxy auth`: log in and out, and see at a glance what requests are paid with.

Renewals and refusals are the account's own; this only asks for them and shows what came of it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from ccproxy.cli.browser_login import log_in
from ccproxy.cli.command_group import AsJson, command_group
from ccproxy.cli.console import say
from ccproxy.cli.exits import CONFIGURATION, DONE, FAILED, INTERRUPTED, TRY_LATER
from ccproxy.cli.key_use import key_use_lines
from ccproxy.cli.output import show_json, show_line, show_table
from shared.accounts.account import Account
from shared.accounts.accounts import ClaudeAccount, CodexAccount
from shared.accounts.login import CredentialState
from shared.accounts.pending import remove
from shared.accounts.routes import credentials_of_routes
from shared.runtime.errors import CCProxyError, ClientError, UpstreamError
from shared.runtime.log import configure_log
from shared.runtime.times import iso_time_or_none
from shared.settings.problems import ConfigurationError
from shared.settings.tree import Settings, load_settings

app = command_group("auth")


class ProviderName(StrEnum):
    CLAUDE = "claude"
    OPENAI = "openai"


Which = Annotated[ProviderName, typer.Argument(help="The provider of the login.")]
NoBrowser = Annotated[
    bool,
    typer.Option(
        "--no-browser", help="Print a link to open on another machine, and take the pasted code."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.callback()
def auth_group() -> None:
    """Log in, and see the credentials that pay for requests."""


@app.command()
def login(no_browser: NoBrowser = False, yes: Yes = False) -> None:
    """Log in to Claude. Claude Code's own login file is used, so both share the login."""
    run_with_settings(
        lambda settings: new_login(settings, ProviderName.CLAUDE, browser=not no_browser, yes=yes)
    )


@app.command()
def login_openai(no_browser: NoBrowser = False, yes: Yes = False) -> None:
    """Log in to ChatGPT. The Codex program's own login file is used, so both share the login."""
    run_with_settings(
        lambda settings: new_login(settings, ProviderName.OPENAI, browser=not no_browser, yes=yes)
    )


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show the credential that pays on each route. The exit code is 0 if at least one route is
    served.
    """
    run_with_settings(lambda settings: show_credentials(settings, as_json=as_json))


@app.command()
def validate(provider: Which = ProviderName.CLAUDE) -> None:
    """Check that a credential works. A Claude login is shown to the provider, and renewed first if
    necessary.
    """
    run_with_settings(lambda settings: check_login(settings, provider))


@app.command()
def info(provider: Which = ProviderName.CLAUDE, as_json: AsJson = False) -> None:
    """Show the account behind a login."""
    run_with_settings(lambda settings: show_account(settings, provider, as_json=as_json))


@app.command()
def refresh(provider: Which = ProviderName.CLAUDE) -> None:
    """Renew a login now, whatever its remaining lifetime."""
    run_with_settings(lambda settings: renew(settings, provider))


@app.command()
def logout(provider: Which = ProviderName.CLAUDE, yes: Yes = False) -> None:
    """Remove a login from its file. The official program that shares the file is logged out too."""
    run_with_settings(lambda settings: log_out(settings, provider, yes=yes))


def run_with_settings(work: Callable[[Settings], Awaitable[int]]) -> None:
    """Do the work of a command, and end with its exit code."""
    code = FAILED
    try:
        settings = load_settings()
        configure_log(
            level="ERROR", style=settings.server.log_format, service="auth", instance="auth"
        )
        code = asyncio.run(as_coroutine(work, settings))
    except KeyboardInterrupt:
        say("")
        code = INTERRUPTED
    except CCProxyError as error:
        say(error.message)
        code = CONFIGURATION if isinstance(error, ConfigurationError) else code
        code = TRY_LATER if isinstance(error, UpstreamError) else code
    raise typer.Exit(code)


async def as_coroutine(work: Callable[[Settings], Awaitable[int]], settings: Settings) -> int:
    return await work(settings)


def account_of(settings: Settings, provider: ProviderName) -> Account:
    return (
        ClaudeAccount(settings.claude)
        if provider is ProviderName.CLAUDE
        else CodexAccount(settings.codex)
    )


async def new_login(settings: Settings, provider: ProviderName, *, browser: bool, yes: bool) -> int:
    async with account_of(settings, provider) as account:
        state = await account.describe()
        asking = state.status == "pass" and not yes and sys.stdin.isatty()
        if asking and not typer.confirm(f"There is a {state.output}. Log in again?", err=True):
            return 1
        path = await log_in(settings, account.issuer, browser=browser, say=say)
        now = await account.describe()
    say(f"Logged in: {now.output}.")
    if now.source != str(path):
        say(f"The new login is in {path}, but {now.source} is used before it.")
    return 0


async def show_credentials(settings: Settings, *, as_json: bool) -> int:
    async with ClaudeAccount(settings.claude) as claude, CodexAccount(settings.codex) as chatgpt:
        found = await credentials_of_routes(settings, claude, chatgpt)
    if as_json:
        show_json(
            [
                {"route": each.route, "provider": each.provider, **facts_of(each.state)}
                for each in found
            ]
        )
    else:
        show_table(
            ("ROUTE", "", "CREDENTIAL"),
            ((each.route, each.state.status, each.state.output) for each in found),
            joined=True,
        )
        for line in await asyncio.to_thread(key_use_lines, settings):
            show_line(line)
    serves = any(each.state.source and each.state.status != "fail" for each in found)
    return DONE if serves else FAILED


async def check_login(settings: Settings, provider: ProviderName) -> int:
    async with account_of(settings, provider) as account:
        await account.authorize()
        login = await account.login()
        state = await account.describe()
        asked = (
            login is not None
            and login.billed_to == "subscription"
            and provider is ProviderName.CLAUDE
        )
        if login is not None and asked:
            await account.issuer.about(account.tokens, login)
    show_line(
        f"{state.output}; {'the provider accepts it' if asked else 'the provider was not asked'}"
    )
    return 0


async def show_account(settings: Settings, provider: ProviderName, *, as_json: bool) -> int:
    async with account_of(settings, provider) as account:
        await account.authorize()
        login = await account.login()
        state = await account.describe()
        about = await account.issuer.about(account.tokens, login) if login is not None else {}
    person = about.get("account") or {}
    organization = about.get("organization") or {}
    facts = {
        "credential": state.source,
        "billed_to": state.billed_to,
        "plan": state.subscription or organization.get("organization_type"),
        "expires": iso_time_or_none(state.expires_at),
        "name": person.get("full_name"),
        "email": person.get("email"),
        "account": person.get("uuid") or person.get("id"),
        "organization": organization.get("name"),
        "rate limits": organization.get("rate_limit_tier"),
        "scopes": " ".join(login.scopes) if login is not None else None,
    }
    known = {name: value for name, value in facts.items() if value}
    if as_json:
        show_json(known)
    else:
        show_table(("", ""), known.items())
    return 0


async def renew(settings: Settings, provider: ProviderName) -> int:
    async with account_of(settings, provider) as account:
        state = await account.renew()
    show_line(state.output)
    return 0


async def log_out(settings: Settings, provider: ProviderName, *, yes: bool) -> int:
    async with account_of(settings, provider) as account:
        files = account.issuer.files
        state = await account.describe()
        place = next((path for path in files if str(path) == state.source), files[0])
        # A file that is not there holds no login to ask about.
        ask = not yes and await asyncio.to_thread(place.exists)
        if ask and not typer.confirm(f"Take the login out of {place}?", err=True):
            return 1
        try:
            removed = await remove(account.issuer, place)
        except OSError as error:
            raise ClientError(f"{place} cannot be changed: {error.strerror}.") from error
        left = await account.describe()
    say(f"The login in {place} is gone." if removed else f"{place} holds no login.")
    if left.source:
        say(f"Still in use: {left.output}.")
    return 0 if removed else 1


def facts_of(state: CredentialState) -> dict[str, Any]:
    return {**asdict(state), "expires_at": iso_time_or_none(state.expires_at)}
