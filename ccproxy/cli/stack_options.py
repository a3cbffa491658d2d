"""The options `--url` and `--token` of every command that speaks to a stack.

The options travel in the environment, as other options do, to `ccproxy/cli/found_stack.py`; so the
same variables choose a stack for a whole shell. This module imports little: `--help` stays quick.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Annotated, Any, Optional

import typer

CHOSEN_URL = "CCPROXY_STACK_URL"
CHOSEN_TOKEN = "CCPROXY_STACK_TOKEN"

URL = typer.Option(
    "--url",
    help=f"Address of the stack; default: the one that runs here.  [{CHOSEN_URL}]",
    show_default=False,
)
TOKEN = typer.Option(
    "--token",
    help=f"Token for it; default: the stack's own, or SECURITY__AUTH_TOKEN.  [{CHOSEN_TOKEN}]",
    show_default=False,
)
OPTIONS = {"url": URL, "token": TOKEN}


def choose_stack(url: str | None, token: str | None = None) -> None:
    """Remember the options of the command line for `find_stack`; None leaves a choice as it is."""
    for name, value in ((CHOSEN_URL, url), (CHOSEN_TOKEN, token)):
        if value:
            os.environ[name] = value


def with_stack(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return `command` with the options `--url` and `--token`, which choose the stack that
    `find_stack` finds.
    """
    signature = inspect.signature(command, eval_str=True)
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[Optional[str], option],  # noqa: UP045 - typer reads it at run time
        )
        for name, option in OPTIONS.items()
    ]

    @functools.wraps(command)
    def choosing(
        *arguments: Any, url: str | None = None, token: str | None = None, **given: Any
    ) -> Any:
        choose_stack(url, token)
        return command(*arguments, **given)

    choosing.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), *options]
    )
    return choosing
