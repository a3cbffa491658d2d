"""The command line. `ccproxy` alone is `ccproxy serve`.

An option is a setting's override: it goes into this process's environment under the setting's own
name, where it is stronger than any file and reaches every child. What a command needs is imported
when it runs: `--help` stays quick.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]
from typer.core import TyperGroup

from ccproxy import __version__
from ccproxy.cli.console import say
from ccproxy.cli.exits import FAILED
from shared.runtime.errors import CCProxyError
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
)
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
GROUPS = {
    "auth": "ccproxy.cli.auth",
    "codex": "ccproxy.cli.codex",
    "config": "ccproxy.cli.config",
    "workers": "ccproxy.launcher.workers",
    "service": "ccproxy.cli.service",
    "logs": "ccproxy.cli.logs",
    "permissions": "ccproxy.cli.permissions.commands",
}


@dataclass(frozen=True, slots=True)
class Option:
    """An override: `flag` on the command line is `setting` in the environment."""

    flag: str
    setting: str
    help: str
    kind: type[Any] = str
    many: bool = False

    @property
    def name(self) -> str:
        return self.flag.split("/")[0].split(",")[0].strip("-").replace("-", "_")

    def parameter(self, *, hidden: bool) -> inspect.Parameter:
        shown = f"{self.help}  [{self.setting}]"
        declared = typer.Option(
            *self.flag.split(","), help=shown, show_default=False, hidden=hidden
        )
        # A type that is known only when this runs.
        annotation = Annotated[Optional[self.kind], declared]  # type: ignore[name-defined]  # noqa: UP045
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
        )

    def text(self, value: Any) -> str:
        """Return the value as carried by the environment: lists and switches in JSON."""
        if self.many:
            return json.dumps([part.strip() for part in COMMA.split(value) if part.strip()])
        return json.dumps(value) if isinstance(value, bool) else str(value)


COMMA = re.compile(r",(?![^()]*\))")  # not the one inside `Bash(git log, git diff)`

CODE = "--claude-code-options"
Command = Callable[..., None]
OVERRIDES = (
    Option("--host", "SERVER__HOST", "Address to listen on."),
    Option("--port,-p", "SERVER__PORT", "Port to listen on; 0 picks a free one.", int),
    Option("--workers", "SERVER__WORKERS", "Gateway processes sharing the port.", int),
    Option("--config,-c", "CONFIG_FILE", "TOML configuration file.", Path),
    Option("--log-level", "SERVER__LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR."),
    Option("--auth-token", "SECURITY__AUTH_TOKEN", "Token every client must send."),
    Option(
        "--sdk-enable-pool/--no-sdk-enable-pool",
        "SDK__ENABLE_POOL",
        "Keep `claude` processes ready.",
        bool,
    ),
    Option("--sdk-pool-size", "SDK__POOL_SIZE", "Ready `claude` processes per worker.", int),
    Option("--sdk-workers", "SDK__WORKERS", "SDK worker processes.", int),
    Option("--claude-cli-path", "CLAUDE__CLI_PATH", "The `claude` program.", Path),
    Option(
        "--claude-sdk-message-mode",
        "CLAUDE__SDK_MESSAGE_MODE",
        "Tool use is shown: forward, formatted, ignore.",
    ),
    Option(
        "--claude-builtin-permissions/--no-claude-builtin-permissions",
        "CLAUDE__BUILTIN_PERMISSIONS",
        "Ask a person before the SDK's tools act.",
        bool,
    ),
    Option(
        f"{CODE}-cwd", "CLAUDE__CODE_OPTIONS__CWD", "Working directory of Claude's tools.", Path
    ),
    Option(
        f"{CODE}-permission-mode",
        "CLAUDE__CODE_OPTIONS__PERMISSION_MODE",
        "default, acceptEdits, plan or bypassPermissions.",
    ),
    Option(
        f"{CODE}-max-turns",
        "CLAUDE__CODE_OPTIONS__MAX_TURNS",
        "Most model turns in one request.",
        int,
    ),
    Option(
        f"{CODE}-allowed-tools",
        "CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS",
        "Tools allowed unasked (a,b).",
        many=True,
    ),
    Option(
        f"{CODE}-disallowed-tools",
        "CLAUDE__CODE_OPTIONS__DISALLOWED_TOOLS",
        "Tools taken away (a,b).",
        many=True,
    ),
    Option(
        f"{CODE}-append-system-prompt",
        "CLAUDE__CODE_OPTIONS__APPEND_SYSTEM_PROMPT",
        "Added to the system prompt.",
    ),
    Option(
        f"{CODE}-max-thinking-tokens",
        "CLAUDE__CODE_OPTIONS__MAX_THINKING_TOKENS",
        "Thinking budget.",
        int,
    ),
    Option(f"{CODE}-model", "CLAUDE__CODE_OPTIONS__MODEL", "Model when a request names none."),
    Option(
        f"{CODE}-mcp-config", "CLAUDE__CODE_OPTIONS__MCP_CONFIG", "MCP servers: a file or JSON."
    ),
)


def apply_overrides(given: dict[str, Any]) -> None:
    """Put the given options into the environment."""
    said = []
    for option in OVERRIDES:
        if (value := given.get(option.name)) is not None:
            os.environ[option.setting] = option.text(value)
            said.append(f"{option.setting}={option.flag.split(',')[0].split('/')[0]}")
    if said:
        os.environ[OPTIONS] = " ".join([os.environ.get(OPTIONS, ""), *said])


def with_overrides(*, hidden: bool = False) -> Callable[[Command], Command]:
    """Return the command with `**overrides` spelled out as one option for every setting."""

    def spell_out(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [
            parameter
            for parameter in signature.parameters.values()
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
        options = [option.parameter(hidden=hidden) for option in OVERRIDES]
        command.__signature__ = signature.replace(parameters=own + options)  # type: ignore[attr-defined]
        return command

    return spell_out


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ccproxy {__version__}")
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
            help="Say which release this is.",
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
add_group("workers", "Show and scale the SDK workers.")
add_group("logs", "See requests live, query the records, or export them.")
add_group("permissions", "Show permission requests, and rules for them.")


@app.command()
def permission_handler(
    host: Annotated[
        str | None, typer.Option("--host", help="The gateway's host, or its whole address.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", help="The gateway's port.")] = None,
    token: Annotated[
        str | None, typer.Option("--token", help="A token with the scope `approve`.")
    ] = None,
    auto: Annotated[
        Path | None, typer.Option("--auto", help="Rules file that answers what it covers.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when one prompt is settled.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Events and answers as lines of JSON.")
    ] = False,
    bell: Annotated[
        bool, typer.Option("--bell", help="Ring the terminal's bell for each new request.")
    ] = False,
) -> None:
    """Answer permission requests of agents in a terminal."""
    from ccproxy.cli.permissions.commands import handle  # noqa: PLC0415

    del token  # `main` has moved it into the environment
    raise typer.Exit(handle(host=host, port=port, auto=auto, once=once, as_json=as_json, bell=bell))


@app.command()
def usage(
    refresh_prices: Annotated[
        bool, typer.Option("--refresh-prices", help="Fetch a newer price list first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show each subscription's rest, and the costs."""
    from ccproxy.cli.usage import show_usage  # noqa: PLC0415

    raise typer.Exit(show_usage(as_json=as_json, refresh_prices=refresh_prices))


@app.command()
def generate_token(
    save: Annotated[
        bool, typer.Option("--save", help="Put it into the configuration file in use.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the one that is there.")] = False,
) -> None:
    """Make SECURITY__AUTH_TOKEN, which clients must send."""
    from ccproxy.cli.auth_token import generate  # noqa: PLC0415

    raise typer.Exit(generate(save=save, force=force))


add_group("service", "Have systemd or launchd run the stack for you.")


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show if the stack runs, and its state."""
    from ccproxy.cli.status import show_status  # noqa: PLC0415

    raise typer.Exit(show_status(as_json=as_json))


@app.command()
def doctor(
    url: Annotated[
        str | None, typer.Option("--url", help="Public address of a reverse proxy to look through.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find what is wrong on this machine, and the remedy."""
    from ccproxy.cli.doctor import examine  # noqa: PLC0415

    raise typer.Exit(examine(url=url, as_json=as_json))


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Check that everything arrives, then end: 0 if so.")
    ] = False,
    port: Annotated[int | None, typer.Option("--port", "-p", help="Port to listen on.")] = None,
) -> None:
    """Run the stack on a simulator, without an account."""
    from ccproxy.cli.demo import run_demo  # noqa: PLC0415

    raise typer.Exit(run_demo(once=once, port=port))


def without_token(argv: list[str]) -> tuple[list[str], str | None]:
    """The command line without `--auth-token` (or a handler's `--token`), and the token."""
    names = {"--auth-token", "--token"} if "permission-handler" in argv else {"--auth-token"}
    for at, argument in enumerate(argv):
        name, given, value = argument.partition("=")
        if name in names and given:
            return argv[:at] + argv[at + 1 :], value
        if name in names and at + 1 < len(argv):
            return argv[:at] + argv[at + 2 :], argv[at + 1]
    return argv, None


def shell_named(argv: list[str]) -> str | None:
    """The shell in `--show-completion zsh`; typer's own option takes no name and guesses."""
    asked, _, shell = " ".join(argv[1:]).partition(" ")
    return shell if asked == "--show-completion" and shell in {"bash", "zsh", "fish"} else None


def main() -> None:
    """Run the command line. A token on it is moved to the environment first, out of everybody's
    process list.
    """
    argv, token = without_token(sys.orig_argv)
    if token is not None:
        os.environ["SECURITY__AUTH_TOKEN"] = token
        os.environ[OPTIONS] = "SECURITY__AUTH_TOKEN=--auth-token"
        os.execv(sys.executable, argv)  # noqa: S606
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
        raise SystemExit(getattr(error, "exit_code", FAILED)) from None
