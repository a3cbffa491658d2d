"""The command line. `ccproxy` alone is `ccproxy serve`.

What a command needs is imported when it runs: `--help` stays quick.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]
from typer.core import TyperGroup

from ccproxy.cli.command_group import HELP_NAMES, AsJson
from ccproxy.cli.console import say
from ccproxy.cli.serve_options import apply_overrides, with_overrides
from ccproxy.cli.stack_options import with_stack
from ccproxy.cli.token_options import without_token
from shared.runtime.errors import CCProxyError
from shared.runtime.version import VERSION
from shared.settings.sources import OPTIONS


class Commands(TyperGroup):
    """Groups of commands in separate modules, loaded at the run of a command; `--help` only lists
    the groups' names.

    Completion must look inside a group to know what comes next, and loads the one that is being
    typed.
    """

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        typed = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS") or ""
        if cmd_name in GROUPS and cmd_name in typed.split():
            return typer.main.get_command(importlib.import_module(GROUPS[cmd_name]).app)
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    name="ccproxy",
    cls=Commands,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=HELP_NAMES,
)
GROUPS = {
    "auth": "ccproxy.cli.auth",
    "codex": "ccproxy.cli.codex",
    "config": "ccproxy.cli.config",
    "workers": "ccproxy.launcher.workers",
    "worker": "ccproxy.cli.worker",
    "service": "ccproxy.cli.service",
    "token": "ccproxy.cli.token",
    "logs": "ccproxy.cli.logs",
    "permissions": "ccproxy.cli.permissions.commands",
    "hooks": "ccproxy.cli.hooks",
    "notify": "ccproxy.cli.notify",
    "capture": "ccproxy.cli.capture",
    "agents": "ccproxy.cli.agents",
}


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ccproxy {VERSION}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
@with_overrides(hidden=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            callback=show_version,
            is_eager=True,
            help="Print the version.",
        ),
    ] = False,
    **overrides: Any,
) -> None:
    """One address on your own machine for your own Claude and ChatGPT subscriptions and keys.

    Without a command it serves; all options of `serve` may stand here too.
    """
    del version
    apply_overrides(overrides)
    if context.invoked_subcommand is None:
        run_stack()


@app.command("version", hidden=True)
def print_version() -> None:
    """Print the version."""
    show_version(wanted=True)


@app.command()
@with_overrides()
def serve(**overrides: Any) -> None:
    """Run the stack until Ctrl-C, as `ccproxy` alone does."""
    apply_overrides(overrides)
    run_stack()


def run_stack() -> None:
    from ccproxy.launcher.launch import start_stack  # noqa: PLC0415

    raise typer.Exit(start_stack())


PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=PASS_ON)
def simulator(context: typer.Context) -> None:
    """Run the simulated providers alone."""
    from ccproxy.launcher.programs import find_script  # noqa: PLC0415

    command = [*find_script("ccproxy-simulator"), *context.args]
    os.execv(command[0], command)  # noqa: S606


def run_group(context: typer.Context) -> None:
    name = context.info_name or ""
    importlib.import_module(GROUPS[name]).app(context.args, prog_name=f"ccproxy {name}")


def add_group(name: str, sentence: str) -> None:
    """List the group `name` with `sentence` here; its module is loaded when the group is run."""
    app.command(name, help=sentence, context_settings=PASS_ON)(run_group)


add_group("auth", "Log in, and see the credentials that pay for requests.")
add_group("codex", "Show and test Codex: settings, models, quota.")
add_group("config", "See and check the settings, or write a file of them.")
add_group("token", "Make, list, replace and revoke tokens of your tools.")
add_group("workers", "Show, scale and invite the SDK workers.")
add_group("worker", "Make this machine a worker of another one's stack.")
add_group("logs", "Show requests live, query the records, or export them.")
add_group("capture", "Keep requests for a time, and look at them.")
add_group("agents", "Run managed agents, and follow or stop their sessions.")
add_group("permissions", "Show permission requests, and rules for them.")
add_group("hooks", "Let Claude Code and Codex ask here for permission.")
add_group("notify", "Reach your phone when something waits for you.")


@app.command()
@with_stack
def away(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="on, off, for 2h, daily 22:00-07:00, or daily off."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let agents with hooks wait for your answers."""
    from ccproxy.cli.away import show_presence  # noqa: PLC0415

    raise typer.Exit(show_presence(words or [], as_json=as_json))


@app.command()
@with_stack
def phone(
    name: Annotated[str, typer.Option("--name", help="Name of the phone's token.")] = "phone",
    address: Annotated[
        str | None,
        typer.Option("--address", help="Address at which the phone reaches the gateway."),
    ] = None,
) -> None:
    """Pair a phone, to answer permission requests there."""
    from ccproxy.cli.phone import pair_phone  # noqa: PLC0415

    raise typer.Exit(pair_phone(name, address))


@app.command()
def hook(
    agent: Annotated[Literal["claude", "codex"], typer.Argument(help="The agent that sends it.")],
) -> None:
    """Answer a hook on the standard input, for agents."""
    from ccproxy.cli.hook import run_hook  # noqa: PLC0415

    raise typer.Exit(run_hook(agent))


@app.command()
@with_stack
def permission_handler(
    host: Annotated[
        str | None, typer.Option("--host", help="The gateway's host, or its whole address.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", help="The gateway's port.")] = None,
    auto: Annotated[
        Path | None,
        typer.Option("--auto", help="Rules file; it answers the requests that it covers."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Exit once one request is decided.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Events and answers as lines of JSON.")
    ] = False,
    bell: Annotated[
        bool,
        typer.Option("--bell/--no-bell", help="Ring the terminal's bell for each new request."),
    ] = True,
) -> None:
    """Answer permission requests of agents in a terminal."""
    from ccproxy.cli.permissions.commands import handle  # noqa: PLC0415

    raise typer.Exit(handle(host=host, port=port, auto=auto, once=once, as_json=as_json, bell=bell))


@app.command()
@with_stack
def usage(
    refresh_prices: Annotated[
        bool, typer.Option("--refresh-prices", help="Fetch a newer price list first.")
    ] = False,
    statusline: Annotated[
        bool,
        typer.Option("--statusline", help="Print one short line, and nothing on a failure."),
    ] = False,
    by: Annotated[
        Literal["day", "month", "model", "client", "token", "session"] | None,
        typer.Option("--by", help="One row for each of these, instead of the overview."),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(
            "--days",
            min=1,
            max=366,
            help="Days that --by covers, today included; default: 14 for day, 366 for month, "
            "else 7.",
        ),
    ] = None,
    month: Annotated[
        str | None,
        typer.Option("--month", help="A calendar month by day: 2026-11, this or last."),
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the rows of --by or --month as CSV.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is left of each subscription, and the cost."""
    if by is not None or month is not None:
        from ccproxy.cli.spending import run_spending  # noqa: PLC0415

        raise typer.Exit(run_spending(by, days, month, as_json=as_json, as_csv=as_csv))
    if days is not None or as_csv:
        raise typer.BadParameter("--days and --csv belong to --by.")
    from ccproxy.cli.usage import show_statusline, show_usage  # noqa: PLC0415

    if statusline:
        raise typer.Exit(show_statusline())
    raise typer.Exit(show_usage(as_json=as_json, refresh_prices=refresh_prices))


@app.command()
@with_stack
def sessions(
    session_id: Annotated[
        str | None, typer.Argument(help="A session, to show its agents.", show_default=False)
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="How far back.")] = 7,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1000, help="Most sessions, the latest first.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Show what each conversation of your tools cost."""
    from ccproxy.cli.sessions import show_sessions  # noqa: PLC0415

    raise typer.Exit(show_sessions(session_id, days, limit, as_json=as_json))


@app.command()
def generate_token(
    save: Annotated[
        bool, typer.Option("--save", help="Write the token to the configuration file in use.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a token that exists.")] = False,
) -> None:
    """Make SECURITY__AUTH_TOKEN, which clients must send."""
    from ccproxy.cli.auth_token import generate  # noqa: PLC0415

    raise typer.Exit(generate(save=save, force=force))


@app.command()
@with_stack
def top() -> None:
    """Show the stack's overview live; `?` lists the keys."""
    from ccproxy.cli.top import show_overview  # noqa: PLC0415

    raise typer.Exit(show_overview())


add_group("service", "Have systemd or launchd run the stack for you.")


@app.command()
@with_stack
def env(
    tool: Annotated[
        str | None, typer.Argument(help="claude, codex, aider, …; without one, a list.")
    ] = None,
    route: Annotated[
        str | None, typer.Option("--route", help="api, sdk or codex; default: the tool's usual.")
    ] = None,
    shell: Annotated[
        str | None,
        typer.Option("--shell", help="sh, fish, powershell or json; default: your shell's."),
    ] = None,
) -> None:
    """Print a tool's variables for the stack.

    For a shell: eval "$(ccproxy env aider)"
    """
    from ccproxy.cli.tool_environment import show_environment  # noqa: PLC0415

    raise typer.Exit(show_environment(tool, route=route, shell=shell))


@app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False})
@with_stack
def run(
    command: Annotated[list[str], typer.Argument(help="The program, and its arguments.")],
    route: Annotated[
        str | None, typer.Option("--route", help="api, sdk or codex; default: the tool's usual.")
    ] = None,
    tool: Annotated[
        str | None, typer.Option("--tool", help="The tool it is, if its name does not say.")
    ] = None,
) -> None:
    """Run a program with the stack's address and a token.

    As in: ccproxy run -- claude -p "Say hello." The token is made for this run and ends with it.
    """
    from ccproxy.cli.tool_run import run_tool  # noqa: PLC0415

    raise typer.Exit(run_tool(command, route=route, tool_name=tool))


@app.command()
@with_stack
def status(as_json: AsJson = False) -> None:
    """Show the state of the running stack."""
    from ccproxy.cli.status import show_status  # noqa: PLC0415

    raise typer.Exit(show_status(as_json=as_json))


@app.command()
def doctor(
    url: Annotated[
        str | None, typer.Option("--url", help="Public address of a reverse proxy to test.")
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Also send one short request, which costs its tokens.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine, and name a fix per problem."""
    from ccproxy.cli.doctor import examine  # noqa: PLC0415

    raise typer.Exit(examine(url=url, as_json=as_json, send=send))


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Check that everything arrives, then exit: 0 if it did.")
    ] = False,
    port: Annotated[int | None, typer.Option("--port", "-p", help="Port to listen on.")] = None,
) -> None:
    """Run the stack on a simulator, without an account."""
    from ccproxy.cli.demo import run_demo  # noqa: PLC0415

    raise typer.Exit(run_demo(once=once, port=port))


def shell_named(argv: list[str]) -> str | None:
    """The shell in `--show-completion zsh`; typer's own option takes no name and guesses."""
    asked, _, shell = " ".join(argv[1:]).partition(" ")
    return shell if asked == "--show-completion" and shell in {"bash", "zsh", "fish"} else None


def main() -> None:
    """Run the command line. A token on it is moved to the environment first, out of everybody's
    process list.
    """
    arguments, token = without_token(sys.argv[1:])
    if token:
        interpreter = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
        os.environ |= token
        if "SECURITY__AUTH_TOKEN" in token:
            os.environ[OPTIONS] = "SECURITY__AUTH_TOKEN=--auth-token"
        os.execv(sys.executable, [*interpreter, *arguments])  # noqa: S606
    if shell := shell_named(sys.argv):
        sys.stdout.write(
            get_completion_script(
                prog_name="ccproxy", complete_var="_CCPROXY_COMPLETE", shell=shell
            )
        )
        return
    try:
        app()
    except CCProxyError as error:
        say(error.message)
        raise SystemExit(error.exit_code) from None
