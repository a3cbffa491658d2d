"""A token leaves the command line, and nothing of another program does."""

from __future__ import annotations

import pytest

from ccproxy.cli.stack_options import CHOSEN_TOKEN
from ccproxy.cli.token_options import without_token

OWNERS = "SECURITY__AUTH_TOKEN"


@pytest.mark.parametrize(
    ("line", "left", "token"),
    [
        ("--auth-token s3cret serve", "serve", {OWNERS: "s3cret"}),
        ("serve --auth-token s3cret", "serve", {OWNERS: "s3cret"}),
        ("--auth-token=s3 --port 1", "--port 1", {OWNERS: "s3"}),
        ("usage --token t", "usage", {CHOSEN_TOKEN: "t"}),
        ("serve", "serve", {}),
        ("--auth-token", "--auth-token", {}),
        ("run --token=t -- x", "run -- x", {CHOSEN_TOKEN: "t"}),
        ("run --token t x --token u", "run x --token u", {CHOSEN_TOKEN: "t"}),
        ("run --route sdk --token t x", "run --route sdk x", {CHOSEN_TOKEN: "t"}),
        ("--port 1 run --token t x", "--port 1 run x", {CHOSEN_TOKEN: "t"}),
        # A word `run` is the command only in the place of the command.
        ("token revoke run --token t", "token revoke run", {CHOSEN_TOKEN: "t"}),
        ("token add run --token=t", "token add run", {CHOSEN_TOKEN: "t"}),
        ("--config run usage --token t", "--config run usage", {CHOSEN_TOKEN: "t"}),
        # The program's own options stay.
        ("run -- x --token t", "run -- x --token t", {}),
        ("run x --token t", "run x --token t", {}),
        ("--sdk-enable-pool run x --token t", "--sdk-enable-pool run x --token t", {}),
    ],
)
def test_a_token_is_taken_off_the_command_line(line: str, left: str, token: dict[str, str]) -> None:
    assert without_token(line.split()) == (left.split(), token)
