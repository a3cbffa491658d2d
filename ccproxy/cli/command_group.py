"""The common form of the groups of commands, such as `ccproxy config`: their help, and the option
that asks for JSON. This module imports little: `--help` stays quick.
"""

from __future__ import annotations

from typing import Annotated

import typer

HELP_NAMES = {"help_option_names": ["--help", "-h"]}
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def command_group(name: str, *, no_args_is_help: bool = True) -> typer.Typer:
    """Return the empty group `name`; called without a command it prints its help, unless
    `no_args_is_help` is False.
    """
    return typer.Typer(
        name=name,
        no_args_is_help=no_args_is_help,
        add_completion=False,
        rich_markup_mode=None,
        context_settings=HELP_NAMES,
    )
