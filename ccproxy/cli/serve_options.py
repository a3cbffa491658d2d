"""The options of `ccproxy serve`: each overrides a setting.

An override goes into this process's environment under the setting's own name, where it is stronger
than any file and reaches every child.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from shared.settings.sources import OPTIONS


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
        "How clients see the agent's tools: forward, formatted or ignore.",
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
        "Most model turns per request.",
        int,
    ),
    Option(
        f"{CODE}-allowed-tools",
        "CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS",
        "Tools that need no approval (a,b).",
        many=True,
    ),
    Option(
        f"{CODE}-disallowed-tools",
        "CLAUDE__CODE_OPTIONS__DISALLOWED_TOOLS",
        "Tools that are not offered (a,b).",
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
