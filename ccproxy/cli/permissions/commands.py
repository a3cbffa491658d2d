"""`ccproxy permission-handler` and `ccproxy permissions`: answer prompts, see what was answered,
keep the rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TextIO

import httpx
import typer
from rich.console import Console

from ccproxy.cli.console import say
from ccproxy.cli.exits import CONFIGURATION, DONE, USAGE
from ccproxy.cli.gateway import Unanswered, checked, connection
from ccproxy.cli.output import show_json, show_table
from ccproxy.cli.permissions.automatic import Automatic
from ccproxy.cli.permissions.feed import EventFeed
from ccproxy.cli.permissions.keyboard import Keyboard
from ccproxy.cli.permissions.script import Script
from ccproxy.cli.permissions.terminal import Terminal
from ccproxy.cli.permissions.text import one_line
from ccproxy.launcher.rundir import holder
from shared.settings.problems import ConfigurationError
from shared.settings.tree import Settings, load_settings

app = typer.Typer(
    name="permissions", add_completion=False, rich_markup_mode=None, no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
JSON = {"content-type": "application/json"}


def handle(
    *, host: str | None, port: int | None, auto: Path | None, once: bool, as_json: bool, bell: bool
) -> int:
    """Answer prompts until Ctrl-C; returns the exit code."""
    try:
        settings = load_settings()
        automatic = Automatic(auto) if auto else None
        if not (as_json or automatic) and not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
            say(
                "This is no terminal: use --json to answer from a program, or --auto with a rules "
                "file."
            )
            return USAGE
        with contextlib.suppress(KeyboardInterrupt):
            work = partial(_handle, address(settings, host, port), token_of(settings), automatic)
            asyncio.run(work(once=once, as_json=as_json, bell=bell))
    except ConfigurationError as error:
        say(error.message)
        return CONFIGURATION
    except Unanswered as error:
        say(error.message)
        return error.exit_code
    return DONE


async def _handle(
    url: str, token: str, automatic: Automatic | None, *, once: bool, as_json: bool, bell: bool
) -> None:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=30, trust_env=False
    ) as client:
        feed = EventFeed(client)
        if as_json or not is_terminal(sys.stdin):
            await Script(feed, automatic, json_lines=as_json).run(once=once)
        else:
            await Terminal(feed, Console(), Keyboard(), automatic, bell=bell).run(once=once)


def is_terminal(stream: TextIO | None) -> bool:
    """Return True for a terminal; False also for a stream that was closed before the
    program began.
    """
    return stream is not None and stream.isatty()


def address(settings: Settings, host: str | None, port: int | None) -> str:
    """Return the address of the gateway named by the options, else of the gateway of this run
    directory.
    """
    if host is None and port is None and (known := holder(settings.server.run_dir).get("url")):
        return str(known)
    if host is not None and "://" in host:
        return host.rstrip("/")
    name = host or settings.server.host
    return f"http://{f'[{name}]' if ':' in name else name}:{port or settings.server.port}"


def token_of(settings: Settings) -> str:
    token = settings.security.auth_token
    return token.get_secret_value() if token else ""


@app.callback()
def permissions_group() -> None:
    """Show permission requests, and rules for them."""


@app.command()
def log(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many.")] = 50,
    tool: Annotated[str | None, typer.Option("--tool", help="Only this tool.")] = None,
    caller: Annotated[str | None, typer.Option("--caller", help="Only this caller.")] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="allowed, denied, expired or cancelled.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List past requests, latest first.

    Each row has the tool, the outcome, the person or rule, and the time.
    """
    wanted = {"limit": limit, "tool_name": tool, "caller": caller, "outcome": outcome}
    given = {name: value for name, value in wanted.items() if value is not None}
    rows = ask_gateway("GET", "/permissions/log", params=given).get("results", [])
    if as_json:
        show_json(rows)
    else:
        show_table(
            ["asked", "tool", "input", "caller", "outcome", "by", "after"], map(log_row, rows)
        )


def log_row(row: dict[str, Any]) -> list[str]:
    shown = json.loads(row["input"]) if row["input"].endswith("}") else {}
    what = shown.get("command") or shown.get("file_path") or shown.get("url") or row["input"]
    by = row["rule"] or row["decided_by"]
    edited = ", edited" if row["updated_input"] else ""
    after = f"{row['waited_ms'] / 1000:.1f} s"
    asked = row["asked_at"][:19].replace("T", " ")
    return [
        asked,
        row["tool_name"],
        one_line(what, 40),
        row["caller"] or "local",
        row["outcome"] + edited,
        by,
        after,
    ]


@app.command()
def rules(as_json: AsJson = False) -> None:
    """List the rules in force."""
    answer = ask_gateway("GET", "/permissions/rules")
    if as_json:
        show_json(answer)
        return
    show_table(["id", "rule", "from"], map(rule_row, answer["rules"]))
    for sentence in filter(None, [answer["problem"], *answer["notes"]]):
        say(sentence)


def rule_row(rule: dict[str, Any]) -> list[str]:
    """Return a rule as a row. A removed built-in rule is included, for restoring the rule."""
    text = rule["text"] if rule.get("in_force", True) else f"(removed) {rule['text']}"
    return [rule["id"], text, rule["by"]]


@app.command()
def restore(
    rule_id: Annotated[str, typer.Argument(help="A built-in rule that was removed.")],
) -> None:
    """Put a removed built-in rule in force again."""
    say(
        "Restored: "
        f"{ask_gateway('POST', f'/permissions/rules/{rule_id}/restore', headers=JSON)['text']}"
    )


@app.command()
def revoke(
    rule_id: Annotated[str, typer.Argument(help="As `ccproxy permissions rules` shows it.")],
) -> None:
    """Remove a rule. Calls that the rule allowed before stay done."""
    say(f"Revoked: {ask_gateway('DELETE', f'/permissions/rules/{rule_id}', headers=JSON)['text']}")


@app.command()
def explain(request_id: Annotated[str, typer.Argument(help="As `log --json` shows it.")]) -> None:
    """Explain the outcome of a request."""
    answer = ask_gateway("POST", "/permissions/rules/explain", json={"request_id": request_id})
    say(f"{answer['outcome']}: {answer['why']}")


def ask_gateway(method: str, path: str, **options: Any) -> dict[str, Any]:
    with connection(load_settings()) as client:
        answer: dict[str, Any] = checked(client.request(method, path, **options)).json()
        return answer
