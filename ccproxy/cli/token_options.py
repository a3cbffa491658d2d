"""The token on a command line, moved to the environment: every user of the machine sees the process
list.

Invariant: the arguments of a program behind `ccproxy run` are never read or changed. This module
imports little: `--help` stays quick.
"""

from __future__ import annotations

from collections.abc import Iterable

from ccproxy.cli.serve_options import OVERRIDES
from ccproxy.cli.stack_options import CHOSEN_TOKEN

# The options that carry a token, and the variables that carry it on.
TOKEN_OPTIONS = {"--auth-token": "SECURITY__AUTH_TOKEN", "--token": CHOSEN_TOKEN}
# The options that take the next argument as their value: before a command, and of `ccproxy run`.
SERVE_OPTIONS = frozenset(
    flag for option in OVERRIDES if option.kind is not bool for flag in option.flag.split(",")
)
RUN_OPTIONS = frozenset({"--route", "--tool", "--url", "--token"})
RUN = "run"
END_OF_OPTIONS = "--"


def without_token(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the arguments of the command line without a token of ours, and the token under its
    variable.
    """
    end = count_own(arguments)
    for at, argument in enumerate(arguments[:end]):
        name, given, value = argument.partition("=")
        if name in TOKEN_OPTIONS and given:
            return arguments[:at] + arguments[at + 1 :], {TOKEN_OPTIONS[name]: value}
        if name in TOKEN_OPTIONS and at + 1 < end:
            carried = {TOKEN_OPTIONS[name]: arguments[at + 1]}
            return arguments[:at] + arguments[at + 2 :], carried
    return arguments, {}


def count_own(arguments: list[str]) -> int:
    """Return how many of `arguments` are ours: all, but only those before the program in
    `ccproxy run`.
    """
    command = count_options(arguments, SERVE_OPTIONS)
    if arguments[command : command + 1] != [RUN]:
        return len(arguments)
    after = command + 1
    return after + count_options(arguments[after:], RUN_OPTIONS)


def count_options(arguments: list[str], with_value: Iterable[str]) -> int:
    """Return how many of `arguments` are options and their values, up to the first other word or
    `--`. The options in `with_value` take the next argument as their value.
    """
    place = 0
    while place < len(arguments):
        argument = arguments[place]
        if argument == END_OF_OPTIONS or not argument.startswith("-"):
            break
        place += 2 if argument in with_value else 1
    return min(place, len(arguments))
