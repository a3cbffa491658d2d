"""`ccproxy permission-handler` and `ccproxy permissions`: answer prompts, see what was answered,
keep the rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TextIO

import httpx
import typer
from rich.console import Console

from ccproxy.cli.command_group import AsJson, command_group
from ccproxy.cli.console import say
from ccproxy.cli.exits import CONFIGURATION, DONE, USAGE
from ccproxy.cli.found_stack import FoundStack, find_stack
from ccproxy.cli.gateway import Unanswered, checked, connection
from ccproxy.cli.output import show_json, show_table
from ccproxy.cli.permissions.automatic import Automatic
from ccproxy.cli.permissions.claude_settings import export_settings, import_settings
from ccproxy.cli.permissions.feed import EventFeed
from ccproxy.cli.permissions.keyboard import Keyboard
from ccproxy.cli.permissions.profiles import read_profile_words, show_profiles
from ccproxy.cli.permissions.replay import read_days, read_tried, show_replay
from ccproxy.cli.permissions.script import Script
from ccproxy.cli.permissions.terminal import Terminal
from ccproxy.cli.stack_options import choose_stack, with_stack
from ccproxy.launcher.listening import local_url
from shared.permissions.deciders import BY_LOCAL
from shared.permissions.input_lines import input_line
from shared.runtime.times import local_minute
from shared.settings.problems import ConfigurationError
from shared.settings.tree import Settings, load_settings

app = command_group("permissions")

JSON = {"content-type": "application/json"}
NO_REQUEST = "There is no permission request yet."


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
            stack = stack_at(settings, host, port)
            work = partial(_handle, stack.url, stack.token, automatic)
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


def stack_at(settings: Settings, host: str | None, port: int | None) -> FoundStack:
    """Return the stack at the address of the options, else the stack to speak to. Raises
    SeveralStacks.
    """
    if host is not None or port is not None:
        whole = host if host is not None and "://" in host else None
        choose_stack(whole or local_url(host or settings.server.host, port or settings.server.port))
    return find_stack(settings)


@app.callback()
def permissions_group() -> None:
    """Show permission requests, and rules for them."""


@app.command()
@with_stack
def log(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many.")] = 50,
    tool: Annotated[str | None, typer.Option("--tool", help="Only this tool.")] = None,
    caller: Annotated[str | None, typer.Option("--caller", help="Only this caller.")] = None,
    outcome: Annotated[
        str | None,
        typer.Option(
            "--outcome", help="allowed, denied, expired, cancelled, undecided or switched."
        ),
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
    elif not rows and sys.stdout.isatty():
        say("There is no such permission request." if given.keys() - {"limit"} else NO_REQUEST)
    else:
        show_table(
            ["ASKED", "TOOL", "INPUT", "CALLER", "OUTCOME", "BY", "AFTER"], map(log_row, rows)
        )


def log_row(row: dict[str, Any]) -> list[str]:
    by = row["rule"] or row["decided_by"]
    edited = ", edited" if row["updated_input"] else ""
    after = f"{row['waited_ms'] / 1000:.1f} s"
    machine = f" on {row['machine']}" if row.get("machine") else ""
    return [
        local_minute(row["asked_at"]),
        row["tool_name"],
        input_line(row["input"], 40),
        (row["caller"] or BY_LOCAL) + machine,
        row["outcome"] + edited,
        by,
        after,
    ]


@app.command()
@with_stack
def rules(as_json: AsJson = False) -> None:
    """List the rules in force."""
    answer = ask_gateway("GET", "/permissions/rules")
    if as_json:
        show_json(answer)
        return
    show_table(["ID", "RULE", "FROM"], map(rule_row, answer["rules"]))
    for sentence in filter(None, [answer["problem"], *answer["notes"]]):
        say(sentence)


def rule_row(rule: dict[str, Any]) -> list[str]:
    """Return a rule as a row. A removed built-in rule is included, for restoring the rule."""
    text = rule["text"] if rule.get("in_force", True) else f"(removed) {rule['text']}"
    return [rule["id"], text, rule["by"]]


@app.command()
@with_stack
def restore(
    rule_id: Annotated[str, typer.Argument(help="A built-in rule that was removed.")],
) -> None:
    """Put a removed built-in rule in force again."""
    say(
        "Restored: "
        f"{ask_gateway('POST', f'/permissions/rules/{rule_id}/restore', headers=JSON)['text']}"
    )


@app.command()
@with_stack
def revoke(
    rule_id: Annotated[str, typer.Argument(help="As `ccproxy permissions rules` shows it.")],
) -> None:
    """Remove a rule. Calls that the rule allowed before stay done."""
    say(f"Revoked: {ask_gateway('DELETE', f'/permissions/rules/{rule_id}', headers=JSON)['text']}")


@app.command()
@with_stack
def explain(request_id: Annotated[str, typer.Argument(help="As `log --json` shows it.")]) -> None:
    """Explain the outcome of a request."""
    answer = ask_gateway("POST", "/permissions/rules/explain", json={"request_id": request_id})
    say(f"{answer['outcome']}: {answer['why']}")


@app.command("profile")
@with_stack
def profile(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]... | off | away NAME... | away off | list | show NAME | copy NAME",
            help="The profiles to put in force; without any, those in force are shown.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put profiles of rules in force, or show them.

    `NAME...` puts these and no others in force, `off` none. `away NAME...` puts them in force while
    the owner is away. `list` shows all, `show` the rules of one. `copy` writes a built-in one into
    the rules file, where it can be changed.
    """
    request = read_profile_words(words or [])
    if request.change is not None:
        answer = ask_gateway("POST", request.path, json=request.change)
    else:
        answer = ask_gateway("GET", request.path)
    show_profiles(answer, request, as_json=as_json)


@app.command("import")
@with_stack
def import_command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="Settings files of Claude Code; default: yours, and those of this folder.",
        ),
    ] = None,
    into: Annotated[
        str | None, typer.Option("--profile", help="Put the rules into this profile.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Add the rules without asking.")] = False,
) -> None:
    """Make rules of the permissions in Claude Code's settings.

    Shows what becomes of each entry and why an entry cannot be taken, and asks before it adds
    rules.
    """
    raise typer.Exit(import_settings(files or [], into, ask_gateway, yes=yes))


@app.command("export")
@with_stack
def export_command(
    claude: Annotated[
        bool, typer.Option("--claude", help="As `permissions` of a settings file of Claude Code.")
    ] = False,
) -> None:
    """Print the rules in force for another program. Rules that cannot be expressed are named."""
    if not claude:
        say("Name the form to print: --claude.")
        raise typer.Exit(USAGE)
    export_settings(ask_gateway("GET", "/permissions/rules")["rules"])


@app.command("replay")
@with_stack
def replay_rules(
    file: Annotated[Path, typer.Argument(help="A rules file, as permissions.toml.")],
    since: Annotated[str, typer.Option("--since", help="As 30d or 12h.")] = "30d",
    as_json: AsJson = False,
) -> None:
    """Decide past requests again with another rules file. Nothing changes.

    Prints the number of requests for each decision then and now, and the requests with another
    decision.
    """
    body = {"rules": read_tried(file), "days": read_days(since)}
    answer = ask_gateway("POST", "/permissions/rules/replay", json=body)
    if as_json:
        show_json(answer)
    else:
        show_replay(answer)


def ask_gateway(method: str, path: str, **options: Any) -> dict[str, Any]:
    with connection(load_settings()) as client:
        answer: dict[str, Any] = checked(client.request(method, path, **options)).json()
        return answer
